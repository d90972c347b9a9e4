"""The export program on a toy model's runs: what it writes reads back as the rows."""

import contextlib
import importlib.util
import io
import json

import numpy as np
import pytest
import toy

from experiments import attack, export
from experiments.lib import opening
from experiments.lib.settings import UsageError
from tetris_jax import data
from tetris_jax.runs import workdirs as results

pd = pytest.importorskip('pandas')
pytest.importorskip('pyarrow')
pytest.importorskip('pycocotools')
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def toy_zoo(monkeypatch, tmp_path_factory):
  monkeypatch.setenv('TETRIS_CACHE', str(tmp_path_factory.getbasetemp() / 'cache'))
  monkeypatch.setattr(opening, 'zoo', toy)


def asked(data_dir, workdir, **changes):
  made = {'num_clicks': 2, 'batch_size': 2, 'preset': 'tetris', 'pictures': 1, 'model': 'toy'}
  made |= {'dataset': 'folder', 'data_dir': str(data_dir), 'workdir': str(workdir)}
  return attack.Settings(**made | changes)


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  """A data set, a run with masks, and the same in two shards."""
  patch = pytest.MonkeyPatch()
  patch.setenv('TETRIS_CACHE', str(tmp_path_factory.getbasetemp() / 'cache'))
  patch.setattr(opening, 'zoo', toy)
  root = tmp_path_factory.mktemp('export')
  toy.write_folder(root / 'dev', ((40, 56), (48, 48), (44, 40)))
  assert attack.execute(asked(root / 'dev', root / 'plain')) == 0
  assert attack.execute(asked(root / 'dev', root / 'kept', masks=True)) == 0
  for number in (0, 1):
    shard = {'shard_id': number, 'num_shards': 2, 'masks': True, 'pictures': 0}
    assert attack.execute(asked(root / 'dev', root / 'cut', **shard)) == 0
  patch.undo()
  return root


def run(*workdirs, out, **more):
  return export.execute(export.Settings(workdirs=tuple(map(str, workdirs)), out=str(out), **more))


def test_masks_are_kept_beside_the_same_rows(made):
  kept, plain = ((made / name / 'rows.jsonl').read_bytes() for name in ('kept', 'plain'))
  assert kept == plain
  kinds = ('base', 'max', 'min', 'truth')
  assert sorted(file.name for file in (made / 'kept' / 'masks').iterdir()) == [
    f'{number:05d}_p{number}.{kind}.png' for number in range(3) for kind in kinds
  ]
  assert not (made / 'plain' / 'masks').exists()


def test_what_is_written_reads_back_as_the_rows(made, tmp_path, capsys):
  from pycocotools.coco import COCO

  assert run(made / 'kept', out=tmp_path / 'out') == 0
  assert 'results_max.json' in capsys.readouterr().out
  rows = results.read_rows(made / 'kept' / 'rows.jsonl')
  frame = pd.read_parquet(tmp_path / 'out' / 'rows.parquet')
  assert frame['instance'].tolist() == [row['instance'] for row in rows]
  assert frame['iou_max'].map(list).tolist() == [row['iou']['max'] for row in rows]
  clicks = pd.read_parquet(tmp_path / 'out' / 'clicks.parquet')
  assert len(clicks) == 3 * 3 * 2
  dataset = data.open_dataset('folder', str(made / 'dev'))
  with contextlib.redirect_stdout(io.StringIO()):
    truth = COCO(str(tmp_path / 'out' / 'annotations.json'))
  for mode in ('min', 'base', 'max'):
    with contextlib.redirect_stdout(io.StringIO()):
      found = truth.loadRes(str(tmp_path / 'out' / f'results_{mode}.json'))
    for number, row in enumerate(rows, 1):
      (image,) = truth.loadImgs([number])
      assert [image['height'], image['width']] == row['size']
      object_ = truth.annToMask(truth.loadAnns([number])[0]).astype(bool)
      np.testing.assert_array_equal(object_, dataset[number - 1].mask)
      answer = found.annToMask(found.loadAnns([number])[0]).astype(bool)
      iou = (answer & object_).sum() / (answer | object_).sum()
      assert iou == pytest.approx(row['iou'][mode][-1], abs=1e-6)


def test_shards_export_as_one_run(made, tmp_path):
  run(made / 'kept', out=tmp_path / 'whole')
  run(made / 'cut', out=tmp_path / 'cut')
  names = sorted(file.name for file in (tmp_path / 'whole').iterdir())
  assert names == sorted(file.name for file in (tmp_path / 'cut').iterdir()) and len(names) == 7
  for name in names:
    assert (tmp_path / 'cut' / name).read_bytes() == (tmp_path / 'whole' / name).read_bytes()


def test_masks_asked_for_later_are_made_and_stay_in_step(made, tmp_path):
  import shutil

  shutil.copytree(made / 'plain', tmp_path / 'run')
  assert attack.execute(asked(made / 'dev', tmp_path / 'run', masks=True)) == 0
  for file in (made / 'kept' / 'masks').iterdir():
    assert (tmp_path / 'run' / 'masks' / file.name).read_bytes() == file.read_bytes()
  rows = (made / 'plain' / 'rows.jsonl').read_bytes()
  assert (tmp_path / 'run' / 'rows.jsonl').read_bytes() == rows
  (tmp_path / 'run' / 'masks' / '00001_p1.max.png').unlink()
  assert attack.execute(asked(made / 'dev', tmp_path / 'run')) == 0
  assert len(list((tmp_path / 'run' / 'masks').iterdir())) == 12


def test_a_run_without_masks_exports_its_tables_and_says_so(made, tmp_path, capsys):
  assert run(made / 'plain', out=tmp_path / 'out') == 0
  assert 'note: toy-dev-tetris: 3 of 3 measured instances have no masks' in capsys.readouterr().err
  assert sorted(file.name for file in (tmp_path / 'out').iterdir()) == [
    'clicks.parquet', 'rows.parquet', 'users.parquet'
  ]  # fmt: skip


def test_what_cannot_be_written_is_said(made, tmp_path, monkeypatch, capsys):
  with pytest.raises(UsageError, match='names no work folder'):
    run(out=tmp_path / 'out')
  with pytest.raises(UsageError, match='leaves nothing to write'):
    run(made / 'kept', out=tmp_path / 'out', tables=False, coco=False)
  with pytest.raises(results.WorkdirError, match='holds work folders'):
    run(made / 'kept', out=made / 'kept')
  whole = importlib.util.find_spec
  monkeypatch.setattr(
    importlib.util, 'find_spec', lambda name, *more: None if name == 'pyarrow' else whole(name)
  )
  with pytest.raises(UsageError, match=r'--tables needs pyarrow: pip install "tetris_jax\[table'):
    run(made / 'kept', out=tmp_path / 'out')
  assert not (tmp_path / 'out').exists()
  assert run(made / 'kept', out=tmp_path / 'out', tables=False) == 0
  made_of = json.loads((tmp_path / 'out' / 'annotations.json').read_text())
  assert len(made_of['annotations']) == 3
  assert export.main(['export', f'--workdirs={tmp_path / "none"}']) == 2
  assert 'is no work folder' in capsys.readouterr().err
