"""Files of clicks, COCO's and panoptic annotations and what is kept of masks, damaged by value."""

from __future__ import annotations

import copy
import json
import os
import pathlib
import random
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import coco_files
import damage
import numpy as np
import picture_files
from data_coco_panoptic_test import about, panoptic, segment
from PIL import Image

from tetris_jax import data
from tetris_jax.data import clicks, index

__all__ = ['CASES', 'KINDS', 'make', 'read']

NAMES = ('a', 'b', 'many#3', 'many#7', 'one#5')
_PLAIN = [
  ['instance', 'y', 'x', 'user', 'label'], ['a', '1.5', '3', 'Ann', '1'],
  ['b', '6', '5', 'Bo', '1'], ['many#3', '2', '4', 'Ann', '0'], ['one#5', '7', '7', '', '1'],
]  # fmt: skip
_RCLICKS = [
  ['dataset', 'full_stem', 'click_type', 'device', 'x', 'y', 'w', 'h', 'model_type', 'object_stem'],
  ['TETRIS', 'a', 'first', 'pc', '7', '3', '20', '10', '', ''],
  ['TETRIS', 'many_______7', 'first', 'mobile', '5', '2', '20', '10', '', '7'],
  ['TETRIS', 'many_______3', 'first', 'mobile', '5', '2', '20', '10', '', '3'],
  ['TETRIS', 'one', 'fn', 'pc', '1', '0', '20', '10', 'sam', ''],
]  # fmt: skip
_CELLS = (
  '', ' ', 'nan', 'inf', '-inf', '1e400', '-1', '0', '0.5', '1,5', '1_000', '9' * 400, '1e308', '٣',
  'x' * 5000, '"', '""', "'", '\r', '\n', '\\', ';', '\t', '#', '\ufeff', '\u2028', '\ud7ff',
  '=1+1', '../../x', 'a#0', 'many#' + '9' * 5000, 'many_______', '_______7', 'many_______-1',
  'true', '\uff11',
  'many_______' + '9' * 5000,
)  # fmt: skip


def _table(rows: list[list[str]], draw: random.Random | None) -> bytes:
  if draw is None:
    return '\n'.join(','.join(row) for row in rows).encode()
  rows = copy.deepcopy(rows)
  for _ in range(draw.choice([1, 1, 2, 4])):
    row = draw.choice(rows)
    how = draw.random()
    if how < 0.6 and row:
      row[draw.randrange(len(row))] = draw.choice([*_CELLS, *rows[0]])
    elif how < 0.7:
      rows.insert(draw.randrange(len(rows) + 1), list(row) * draw.choice([1, 1, 2, 2000]))
    elif how < 0.8:
      rows += [list(row)] * draw.choice([1, 2, 3000])
    elif how < 0.9 and row:
      del row[draw.randrange(len(row))]
    else:
      draw.shuffle(row)
  separator = draw.choice([',', ',', ',', ';', '\t', '|', ' '])
  stored = draw.choice(['\n', '\n', '\r\n', '\r']).join(separator.join(row) for row in rows)
  whole = stored.encode(draw.choice(['utf-8'] * 6 + ['utf-8-sig', 'utf-16', 'latin-1']), 'replace')
  return damage.damaged(whole, draw) if draw.random() < 0.3 else whole


def _clicks(rows: list[list[str]]) -> Callable[[pathlib.Path, random.Random | None], pathlib.Path]:
  def written(folder: pathlib.Path, draw: random.Random | None) -> pathlib.Path:
    (folder / 'clicks.csv').write_bytes(_table(rows, draw))
    return folder / 'clicks.csv'

  return written


def _json_clicks(folder: pathlib.Path, draw: random.Random | None) -> pathlib.Path:
  """Clicks as JSON, which are refused, in the place of a table."""
  if draw is None:
    return _clicks(_PLAIN)(folder, None)
  held = [dict(zip(_PLAIN[0], row, strict=True)) for row in _PLAIN[1:]]
  (folder / 'clicks.json').write_bytes(damage.document(held, draw))
  return folder / 'clicks.json'


SOUND = coco_files.document(
  [
    coco_files.annotation(),
    coco_files.annotation(id=2, segmentation={'size': [20, 30], 'counts': [300, 300]}),
    coco_files.annotation(id=3, image_id=2, iscrowd=1),
    coco_files.annotation(id=4, image_id=2),
  ],
  images=[
    coco_files.image(),
    coco_files.image(id=2, file_name='cam2/a.png', coco_url='http://x/val2017/a.png'),
  ],
)
_ODD = (
  *damage.ODD, 'a\\b.png', '%00', [1, 2], [[1, 2], [3, 4], [5, 6]], [['1', '2', 3, 4, 5, 6]],
  [[1e400] * 6], [[1e300] * 8], [[0, 0, 1e9, 0, 1e9, 1e9]], [[3.0, 4.0] * 50_000],
  {'size': [20, 30], 'counts': [600]}, {'size': [30, 20], 'counts': [2**70, 600 - 2**70]},
  {'size': [20, 30], 'counts': [0, 600] + [0] * 100_000}, {'counts': 'o' * 99},
  {'size': [20, 30], 'counts': 'o' * 100_000}, {'size': [10**5, 10**5], 'counts': [10**10]},
  {'size': [20, 30], 'counts': '\ud800\x00'}, {'size': None, 'counts': None},
  [{'counts': [300, 300]}],
)  # fmt: skip


def _coco(folder: pathlib.Path, draw: random.Random | None) -> pathlib.Path:
  coco_files.write(folder, SOUND, pictures=['val2017/a.png', 'val2017/cam2/a.png'])
  return _annotated(folder, 'instances_val2017.json', draw)


def _panoptic(folder: pathlib.Path, draw: random.Random | None) -> pathlib.Path:
  panoptic(folder, [about(segment(), segment(id=300))])
  return _annotated(folder, 'panoptic_val2017.json', draw)


def _annotated(folder: pathlib.Path, name: str, draw: random.Random | None) -> pathlib.Path:
  """Damages an annotation file and returns the folder of the data set."""
  file = folder / 'annotations' / name
  if draw is not None:
    held = json.loads(file.read_bytes())
    if draw.random() < 0.7:
      file.write_text(json.dumps(damage.mutated(held, draw, _ODD)))
    else:
      file.write_bytes(damage.document(held, draw))
  return folder


def _line(value: Any) -> bytes:
  body = value if isinstance(value, bytes) else json.dumps(value).encode()
  return b'%08x %s' % (zlib.crc32(body), body)


def _index(folder: pathlib.Path, draw: random.Random | None) -> pathlib.Path:
  """A data set of numbered objects, and the damaged answers that are kept of its masks."""
  for part, array in (('images', picture_files.shades()), ('masks', picture_files.labelled())):
    (folder / part).mkdir()
    Image.fromarray(array).save(folder / part / 'a.png')
    Image.fromarray(array).save(folder / part / 'b.png')
  _numbered(folder)
  (kept,) = (folder / 'kept').iterdir()
  if draw is None:
    return folder
  lines = [line for line in kept.read_bytes().split(b'\n') if line]
  for k, line in enumerate(lines):
    if draw.random() < 0.7:
      # With a sum of its own, as a program of another version would write it.
      lines[k] = _line(damage.mutated(json.loads(line.partition(b' ')[2]), draw))
    elif draw.random() < 0.5:
      lines[k] = damage.damaged(line, draw)
  kept.write_bytes(b'\n'.join(lines) + b'\n')
  return folder


def _numbered(folder: pathlib.Path) -> data.Dataset:
  indexing = index.Indexing(folder=folder / 'kept')
  return data.open_dataset('folder', str(folder), objects='ids', indexing=indexing)


KINDS: Mapping[str, Callable[[pathlib.Path, random.Random | None], pathlib.Path]] = {
  'clicks': _clicks(_PLAIN), 'rclicks': _clicks(_RCLICKS), 'json-clicks': _json_clicks,
  'coco': _coco, 'panoptic': _panoptic, 'index': _index,
}  # fmt: skip


def make(kind: str, folder: pathlib.Path, draw: random.Random | None) -> pathlib.Path:
  """Writes a file of a kind, damaged by the draw."""
  return KINDS[kind](folder, draw)


def read(path: pathlib.Path) -> None:
  """Reads clicks and places them, or opens a data set and reads all of it."""
  if path.suffix in ('.csv', '.json'):
    _read_clicks(path)
  elif (path / 'kept').is_dir():
    dataset = _numbered(path)
    # Answers that could be so are believed.
    assert {name.partition('#')[0] for name in dataset.names} <= {'a', 'b'}
    _check(dataset, (24, 36))
  else:
    kind = 'coco' if list(path.glob('annotations/instances*')) else 'coco_panoptic'
    _check(data.open_dataset(kind, str(path)), coco_files.SIZE)


def _read_clicks(path: pathlib.Path) -> None:
  found = clicks.read_clicks(path, NAMES)
  assert set(found.clicks) <= set(NAMES)
  for some in found.clicks.values():
    try:
      placed = clicks.place(some, (10, 20))
    except ValueError as error:
      assert 10 < len(str(error)) < 900
    else:
      assert np.isfinite(placed.yx).all() and (placed.yx >= 0).all()
      assert (placed.yx <= (9, 19)).all()


def _check(dataset: data.Dataset, size: tuple[int, int]) -> None:
  assert all(isinstance(note, str) for note in dataset.notes)
  for place, found in enumerate(dataset):
    assert found.instance == dataset.names[place]
    found.instance.encode('utf-8')
    assert isinstance(dataset.content(place), str)
    dataset.size(place)
    if isinstance(found, data.Rejected):
      assert found.status in ('failed', 'skipped') and 10 < len(found.reason) < 600, found.reason
    else:
      assert found.image.dtype == np.uint8 and found.mask.shape == size and found.mask.any()


def _of(name: str, stored: bytes) -> Callable[[pathlib.Path], pathlib.Path]:
  def written(folder: pathlib.Path) -> pathlib.Path:
    (folder / name).write_bytes(stored)
    return folder / name

  return written


def _of_document(value: Any) -> Callable[[pathlib.Path], pathlib.Path]:
  def written(folder: pathlib.Path) -> pathlib.Path:
    _coco(folder, None)
    stored = value if isinstance(value, bytes) else json.dumps(value).encode()
    (folder / 'annotations' / 'instances_val2017.json').write_bytes(stored)
    return folder

  return written


def _of_polygons(polygons: Any) -> Callable[[pathlib.Path], pathlib.Path]:
  return _of_document(coco_files.document([coco_files.annotation(segmentation=polygons)]))


def _pipe(folder: pathlib.Path) -> pathlib.Path:
  os.mkfifo(folder / 'clicks.csv')
  return folder / 'clicks.csv'


def _device(folder: pathlib.Path) -> pathlib.Path:
  (folder / 'clicks.csv').symlink_to('/dev/zero')
  return folder / 'clicks.csv'


def _piped(folder: pathlib.Path) -> pathlib.Path:
  file = _coco(folder, None) / 'annotations' / 'instances_val2017.json'
  file.unlink()
  os.mkfifo(file)
  return folder


_HEAD = b'instance,y,x\n'
CASES: Mapping[str, Mapping[str, Callable[[pathlib.Path], pathlib.Path]]] = {
  'clicks': {
    'many-columns': _of('a.csv', b','.join(b'c%d' % k for k in range(20_000)) + b'\n'),
    'a-field-of-megabytes': _of('a.csv', _HEAD + b'"' + b'x' * 5_000_000 + b'",1,2\n'),
    'a-quote-without-end': _of('a.csv', _HEAD + b'"a,1,2\n' * 100_000),
    'many-lines': _of('a.csv', _HEAD + b'a,1,2\n' * 200_000),
    'empty-lines': _of('a.csv', b'\n' * 5_000_000),
    'comments': _of('a.csv', _HEAD + b'#\n' * 1_000_000),
    'a-number-of-megabytes': _of('a.csv', _HEAD + b'a,' + b'9' * 100_000 + b',2\n'),
    'fields-of-nothing': _of('a.csv', _HEAD + b'a' + b',' * 50_000_000),
    'pipe': _pipe, 'device': _device,
  },
  'rclicks': {
    'objects-of-many-digits': _of('a.csv', _table(
      [row[:-1] + ['9' * 5000 + '.0'] if row[-1] == '7' else row for row in _RCLICKS], None
    )),
    'stems-of-many-digits': _of('a.csv', _table(
      [[cell.replace('_7', '_' + '9' * 5000) for cell in row] for row in _RCLICKS], None
    )),
  },
  'coco': {
    'deep': _of_document(b'[' * 5_000_000),
    'deep-objects': _of_document(b'{"images":' * 500_000),
    'a-number-of-megabytes': _of_document(b'{"images":' + b'9' * 5_000_000 + b'}'),
    'far-polygon': _of_polygons([[-1e18, -1e18, 1e18, -1e18, 1e18, 1e18, -1e18, 1e18]]),
    'wide-polygon': _of_polygons([[-1e9, -1e9, 1e9, -1e9, 1e9, 1e9, -1e9, 1e9]]),
    'polygons-of-many-corners': _of_polygons([[3.0, 4.0, 8.0, 9.0, 1.0, 2.0] * 30_000]),
    'many-polygons': _of_polygons([[3.0, 4.0, 8.0, 4.0, 8.0, 9.0]] * 20_000),
    'runs-of-nothing': _of_polygons({'size': [20, 30], 'counts': [0] * 1_000_000 + [600]}),
    'letters': _of_polygons({'size': [20, 30], 'counts': 'o' * 1_000_000}),
    'huge-size': _of_polygons({'size': [10**6, 10**6], 'counts': [10**12]}),
    'pipe': _piped,
  },
}  # fmt: skip
