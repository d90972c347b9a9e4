"""Work folders that are damaged by value, behind their checksums, or hold what is no file."""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import io
import json
import os
import pathlib
import random
import shutil
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import damage
import numpy as np
import runs
import user_runs
import work_folders
from PIL import Image

from tetris_jax import regular
from tetris_jax.report import pictures
from tetris_jax.runs import maps, merge, pieces, workdirs
from tetris_jax.runs.workdirs import WorkdirError

__all__ = ['CASES', 'KINDS', 'break_one', 'make', 'read']


def _searched() -> list[dict[str, Any]]:
  more = {'levels': work_folders.LEVELS, 'quantiles': None, 'hidden': 0.1}
  return [row | copy.deepcopy(more) for row in work_folders.rows()[:3]]


def _walked() -> list[dict[str, Any]]:
  rows = copy.deepcopy(user_runs.ROWS)
  for row in rows:
    walks = user_runs.walked([0.5], [[0.4], [0.6]])
    row['trajectories'] = {name: {**one, 'clicks': [[1.0, 2.0, 1]]} for name, one in walks.items()}
  return rows


def sound(kind: str, folder: pathlib.Path) -> pathlib.Path:
  """Writes the work folder of a program and returns it."""
  if kind == 'users':
    return work_folders.users(folder / 'users', made=_walked())
  if kind == 'heatmap':
    return runs.heatmap_folder(folder / 'heatmap')
  rows = _searched() if kind == 'searched' else None
  return work_folders.attack(folder / kind, made=rows, pictures=(0,))


def break_one(folder: pathlib.Path, draw: random.Random) -> None:
  """Damages one file of a work folder."""
  files = [path for path in folder.rglob('*') if path.suffix in ('.json', '.jsonl', '.png')]
  file = draw.choice(sorted(path for path in files if path.is_file() and path.stat().st_size))
  lines = file.suffix == '.jsonl'
  if draw.random() < 0.05:
    file.unlink()
    draw.choice([
      lambda: os.mkfifo(file), lambda: file.symlink_to('/dev/zero'), file.mkdir, lambda: None,
    ])()  # fmt: skip
  elif file.suffix == '.png' or draw.random() < 0.15:
    file.write_bytes(damage.damaged(file.read_bytes(), draw))
  else:
    stored = file.read_bytes().splitlines() if lines else [file.read_bytes()]
    with contextlib.suppress(ValueError, RecursionError):  # Of what is damaged already.
      made = damage.mutated([json.loads(line) for line in stored], draw)
      file.write_text('\n'.join(map(json.dumps, made)) + '\n')
  if draw.random() < 0.8:
    _mend_sums(folder, draw)


def _mend_sums(folder: pathlib.Path, draw: random.Random) -> None:
  """Makes the folder agree with itself, so that checksums do not tell what is wrong."""
  if draw.random() < 0.5:
    shutil.rmtree(folder / 'results', ignore_errors=True)
  for shard in folder.glob('results/*.jsonl'):
    if shard.is_file() and not shard.is_symlink():
      lines = shard.read_bytes().splitlines(keepends=True)[:-1]
      end = {'sha256': hashlib.sha256(b''.join(lines)).hexdigest()}
      shard.write_bytes(b''.join(lines) + json.dumps(end).encode() + b'\n')
  try:
    listed = json.loads(regular.read(folder / 'instances.json'))['instances']
    config = json.loads(regular.read(folder / 'config.json'))
    config['instances'] = workdirs.fingerprint(listed)
    (folder / 'config.json').write_text(json.dumps(config))
  except (OSError, ValueError, TypeError, KeyError, RecursionError):
    pass  # One of the two is what was damaged.


def _work_folder(kind: str, folder: pathlib.Path, draw: random.Random | None) -> pathlib.Path:
  made = sound(kind, folder)
  for _ in range(draw.choice([1, 1, 1, 2, 5]) if draw else 0):
    with contextlib.suppress(OSError):  # Of a pipe, a link or a folder that it became.
      break_one(made, draw)
  return made


def _resumed(folder: pathlib.Path, draw: random.Random | None) -> pathlib.Path:
  made = _work_folder('attack', folder, draw)
  return made.rename(folder / 'resume')


def _map(folder: pathlib.Path, draw: random.Random | None) -> pathlib.Path:
  """A map of IoU, damaged in its arrays, or in its bytes."""
  legal = np.zeros((20, 30), np.bool_)
  legal[5:9, 5:9] = True
  yx = np.argwhere(legal).astype(np.float32)
  held: dict[str, Any] = {name: np.linspace(0, 1, len(yx), dtype=np.float32)
                          for name in ('iou', 'biou', 'predicted')}  # fmt: skip
  held |= {'yx': yx, 'legal': legal, 'stride': np.int64(1)}
  held |= {f'p/{key}': np.zeros(2, np.float32) for key in maps.OF_A_PRESET}
  place = folder / 'maps'
  place.mkdir()
  if draw is not None and draw.random() < 0.4:
    held = {name: _odd(array, draw) for name, array in held.items()}
  maps.write_map(place / 'a.npz', held)
  if draw is not None and draw.random() < 0.7:
    stored = (place / 'a.npz').read_bytes()
    (place / 'a.npz').write_bytes(
      damage.damaged(stored, draw) if draw.random() < 0.5 else _repacked(stored, draw)
    )
  return place / 'a.npz'


def _odd(array: Any, draw: random.Random) -> Any:
  array, how = np.asarray(array), draw.randrange(12)
  changed = (
    lambda: array[..., None], lambda: array.astype(np.float64) * 1e300,
    lambda: array.reshape(-1)[:0],
    lambda: np.full_like(array, -1), lambda: array.astype(complex), lambda: array.astype('U9'),
    lambda: array.astype(np.float16) * np.nan,
  )  # fmt: skip
  return changed[how]() if how < len(changed) else array


def _repacked(stored: bytes, draw: random.Random) -> bytes:
  """The same archive with damage in its arrays' files that its sums do not tell."""
  made = io.BytesIO()
  with zipfile.ZipFile(io.BytesIO(stored)) as old, zipfile.ZipFile(made, 'w', 8) as new:
    for name in old.namelist():
      body = old.read(name)
      how = draw.random()
      if how < 0.2:
        body = damage.damaged(body[:128], draw) + body[128:]
      elif how < 0.3:
        header, number = body[:128], str(draw.choice([10**6, 10**12, -1, 10**30])).encode()
        body = header.replace(b"'shape': (", b"'shape': (" + number + b', ') + body[128:]
      if how < 0.95:
        new.writestr(name, body)
  return made.getvalue()


def _drawn(folder: pathlib.Path, draw: random.Random | None) -> pathlib.Path:
  """A figure of a run."""
  file = io.BytesIO()
  Image.effect_noise((40, 30), 50).save(file, 'PNG')
  (folder / 'figures').mkdir()
  stored = file.getvalue()
  (folder / 'figures' / 'a.png').write_bytes(damage.damaged(stored, draw) if draw else stored)
  return folder / 'figures' / 'a.png'


_FOLDERS = ('attack', 'searched', 'users', 'heatmap')
KINDS: Mapping[str, Callable[[pathlib.Path, random.Random | None], pathlib.Path]] = {
  **{kind: functools.partial(_work_folder, kind) for kind in _FOLDERS},
  'resume': _resumed, 'map': _map, 'figure': _drawn,
}  # fmt: skip


def make(kind: str, folder: pathlib.Path, draw: random.Random | None) -> pathlib.Path:
  """Writes a work folder or a file of one, damaged by the draw."""
  return KINDS[kind](folder, draw)


def read(path: pathlib.Path) -> None:
  """Reads a work folder as reports do, or as a run that goes on; or one of its files."""
  if path.suffix == '.npz':
    try:
      held = maps.read_map(path, ['p'])
    except maps.DamagedMapError as error:
      raise WorkdirError(str(error)) from error
    assert np.isfinite(held['yx']).all()
  elif path.suffix == '.png':
    said: list[str] = []
    if pictures.Reader(said.append)(path) is None:
      raise WorkdirError(*said)
  elif path.name == 'resume':
    _go_on(path)
  else:
    program: Any = {'searched': 'attack'}.get(path.name, path.name)
    if program == 'heatmap':
      run = merge.read_run(str(path), program)
    else:
      (run,) = merge.collect(pieces.find_workdirs([str(path)]), program)
    assert len(run.rows) == len(run.instances)


def _go_on(path: pathlib.Path) -> None:
  made = work_folders.rows()
  config = {**runs.make('m', made).config, 'shard': {'id': 0, 'count': 1}}
  config['instances'] = workdirs.fingerprint([[one['instance'], one['size']] for one in made])
  with workdirs.open_workdir(path, config) as place:
    place.hold([[one['instance'], one['size']] for one in made])
    damaged = None
    for batch in place.shards():
      try:
        place.read_shard(batch)
      except workdirs.DamagedShardError as error:
        damaged = error
    if damaged is not None:
      raise damaged


def _of(kind: str, change: Callable[[pathlib.Path], object]) -> Callable[[Any], pathlib.Path]:
  def written(folder: pathlib.Path) -> pathlib.Path:
    made = sound('attack' if kind == 'resume' else kind, folder)
    change(made)
    return made.rename(folder / kind) if made.name != kind else made

  return written


def _row(kind: str, change: Callable[[Any], object]) -> Callable[[Any], pathlib.Path]:
  edit = lambda row: change(row) and None
  return _of(kind, lambda folder: work_folders.edit_row(folder, 1, edit))


def _in_place_of(name: str, put: Callable[[pathlib.Path], object]) -> Callable[[Any], object]:
  def change(folder: pathlib.Path) -> None:
    file = folder / name
    shutil.rmtree(file) if file.is_dir() else file.unlink(missing_ok=True)
    put(file)

  return change


def _elsewhere(file: pathlib.Path) -> None:
  outside = file.parents[2] / 'outside'  # Beside the folder of the case.
  outside.mkdir(exist_ok=True)
  (outside / '.x.tmp').write_text('mine')
  file.symlink_to(outside)


_DOCUMENTS = ('config.json', 'instances.json', 'summary.json', 'rows.jsonl', 'results/00000.jsonl')
CASES: Mapping[str, Mapping[str, Callable[[pathlib.Path], pathlib.Path]]] = {
  'attack': {
    'iou-of-1.7': _row('attack', lambda row: row['iou'].update(max=[1.7, 1.7])),
    'iou-below-0': _row('attack', lambda row: row['iou'].update(min=[-0.3, -0.3])),
    'min-above-max': _row('attack', lambda row: row['iou'].update(min=[0.9, 0.9], max=[0.1, 0.1])),
    'status-fine': _row('attack', lambda row: row.update(status='fine')),
    'no-boundary': _row('attack', lambda row: row.update(biou=None)),
    'deep-row': _row('attack', lambda row: row.update(reason=json.loads('[' * 900 + ']' * 900))),
    **{f'pipe-for-{name.replace("/", "-")}': _of('attack', _in_place_of(name, os.mkfifo))
       for name in _DOCUMENTS},
    **{f'device-for-{name.replace("/", "-")}': _of(
      'attack', _in_place_of(name, lambda file: file.symlink_to('/dev/zero')))
       for name in _DOCUMENTS},
    **{f'brackets-for-{name.replace("/", "-")}': _of(
      'attack', _in_place_of(name, lambda file: file.write_bytes(b'[' * 30_000_000)))
       for name in _DOCUMENTS},
  },
  'resume': {
    **{f'pipe-for-{name.replace("/", "-")}': _of('resume', _in_place_of(name, os.mkfifo))
       for name in (*_DOCUMENTS, '.lock')},
    **{f'link-for-{name}': _of('resume', _in_place_of(name, _elsewhere))
       for name in ('results', 'figures', '.lock')},
    'deep-config': _of('resume', _in_place_of(
      'config.json', lambda file: file.write_bytes(b'[' * 30_000_000))),
    'deep-instances': _of('resume', _in_place_of(
      'instances.json', lambda file: file.write_bytes(b'{"instances":' + b'[' * 3_000_000))),
  },
  'map': {
    'bomb': lambda folder: _bomb(folder),
  },
  'figure': {
    'huge': lambda folder: _figure(
      folder, b'\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\xea\x60\0\0\xea\x60'
    ),
    'postscript': lambda folder: _figure(folder, b'%!PS-Adobe-3.0 EPSF-3.0\n(x) run'),
  },
}  # fmt: skip


def _figure(folder: pathlib.Path, stored: bytes) -> pathlib.Path:
  path = _drawn(folder, None)
  path.write_bytes(stored)
  return path


def _bomb(folder: pathlib.Path) -> pathlib.Path:
  path = _map(folder, None)
  with (
    zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
    archive.open('yx.npy', 'w', force_zip64=True) as file,
  ):
    for _ in range(10):
      file.write(bytes(20_000_000))
  return path
