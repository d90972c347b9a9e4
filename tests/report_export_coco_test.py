"""Masks as COCO's annotations and results, read back by pycocotools."""

import contextlib
import io
import json

import numpy as np
import pytest
import runs

from tetris_jax.report.attack import masks
from tetris_jax.report.export import coco
from tetris_jax.runs import merge
from tetris_jax.runs.workdirs import WorkdirError

pytest.importorskip('pycocotools')

SIZE = (20, 30)


def disk(y, x, radius):
  rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
  return (rows - y) ** 2 + (columns - x) ** 2 < radius**2


TRUTH = disk(10, 14, 8)
ANSWERS = {'min': disk(4, 4, 3), 'base': disk(10, 12, 7), 'max': disk(10, 14, 8)}


def iou(one, other, valid=True):
  return float((one & other & valid).sum() / ((one | other) & valid).sum())


@pytest.fixture
def run(tmp_path):
  """A run of two instances with masks, one with ignored pixels, and one without numbers."""
  (tmp_path / 'masks').mkdir()
  ignore = disk(18, 28, 4)
  rows = [runs.failed('000000000139#7', 'damaged')]
  for number, name in enumerate(('000000000139#8', '000000000285#9'), 1):
    valid = ~ignore if number == 2 else True
    rows.append(runs.row(name, *(iou(ANSWERS[mode], TRUTH, valid) for mode in ANSWERS)))
    place = tmp_path / 'masks' / f'{number:05d}_x.png'
    truth = masks.encode_truth(TRUTH, ignore if number == 2 else np.zeros(SIZE, bool))
    masks.named(place, masks.TRUTH).write_bytes(truth)
    for mode, mask in ANSWERS.items():
      masks.named(place, mode).write_bytes(masks.encode_mask(mask))
  return runs.make('mobile_sam', rows)


def piece(run, folder):
  return merge.Piece(folder, run.config, run.instances, run.rows, {})


def loaded(folder, run, found, mode):
  """The ground truth and the results of a mode, as pycocotools has them."""
  from pycocotools.coco import COCO

  for name, held in (('a', coco.objects(run, found)), ('r', coco.results(run, found, mode))):
    (folder / f'{name}.json').write_text(json.dumps(held))
  with contextlib.redirect_stdout(io.StringIO()):
    truth = COCO(str(folder / 'a.json'))
    return truth, truth.loadRes(str(folder / 'r.json'))


@pytest.mark.parametrize('mode', list(ANSWERS))
def test_results_read_back_are_the_masks_of_the_rows(run, tmp_path, mode):
  from pycocotools import mask as rle

  found = coco.find_masks([piece(run, tmp_path)])
  truth, answered = loaded(tmp_path, run, found, mode)
  assert sorted(truth.getImgIds()) == [139, 285] and sorted(truth.getAnnIds()) == [8, 9]
  assert all((one['height'], one['width']) == SIZE for one in truth.loadImgs([139, 285]))
  for row in run.rows[1:]:
    image, number = (int(part) for part in row['instance'].split('#'))
    (result,) = answered.loadAnns(answered.getAnnIds(imgIds=[image]))
    decoded = answered.annToMask(result)
    assert decoded.shape == SIZE
    np.testing.assert_array_equal(decoded, ANSWERS[mode])
    (object_,) = truth.loadAnns([number])
    assert object_['area'] == truth.annToMask(object_).sum()
    if 'ignored' in object_:
      valid = ~rle.decode(object_['ignored']).astype(bool)
      measured = iou(decoded.astype(bool), truth.annToMask(object_).astype(bool), valid)
    else:
      both = [result['segmentation']], [object_['segmentation']]
      measured = rle.iou(*both, [0])[0, 0]
    assert measured == pytest.approx(row['iou'][mode][-1]) == pytest.approx(result['iou'])
  assert answered.loadAnns([1])[0]['bbox'] == coco._box(ANSWERS[mode])


def test_coco_evaluates_them(run, tmp_path):
  from pycocotools.cocoeval import COCOeval

  found = coco.find_masks([piece(run, tmp_path)])
  precision = {}
  for mode in ('min', 'max'):
    with contextlib.redirect_stdout(io.StringIO()):
      evaluated = COCOeval(*loaded(tmp_path, run, found, mode), 'segm')
      evaluated.evaluate()
      evaluated.accumulate()
      evaluated.summarize()
    precision[mode] = evaluated.stats[0]
  assert precision['min'] == 0 and precision['max'] > 0.9


def test_other_names_are_numbered_by_position():
  run = runs.make('m', [runs.row('a', 0, 0, 0), runs.row('12#3', 0, 0, 0)])
  assert coco.image_ids(run) == {'a': (1, 1), '12#3': (2, 2)}


def test_what_was_not_run_or_not_kept_is_absent(run, tmp_path):
  found = coco.find_masks([piece(run, tmp_path)])
  assert coco.results(runs.make('m', [runs.curves('a', None, [0.5], None)]), {}, 'min') is None
  assert coco.results(run, {}, 'min') == [] and coco.objects(run, {})['annotations'] == []
  (tmp_path / 'masks' / '00001_x.min.png').write_bytes(b'')
  with pytest.raises(WorkdirError, match='it is empty'):
    coco.results(run, found, 'min')
  with pytest.raises(ValueError, match='one of min, base, max'):
    coco.results(run, found, 'mean')
