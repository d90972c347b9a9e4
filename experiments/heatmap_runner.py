"""The loop behind experiments.heatmap: every instance to its map, its picture and its row."""

from __future__ import annotations

import io
import pathlib
import sys
import time
import traceback
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

import tetris_jax
from experiments import runner
from tetris_jax import data, presets, types
from tetris_jax import truth as grid
from tetris_jax.geometry import region
from tetris_jax.report.heatmaps import picture as heatmap_picture
from tetris_jax.runs import workdirs as results
from tetris_jax.scores import checks, coverage, priors

__all__ = ['FEWEST', 'Mapper', 'read_map', 'run']

FEWEST = 16
"""Positions below which a map says too little of a region with more pixels to enter means."""

_TRUTH = ('yx', 'iou', 'biou', 'predicted', 'stride')
_ATTACK = ('yx', 'iou', 'biou', 'spent', 'hidden')


def depth_of(config: presets.AttackConfig) -> float:
  """The depth that a search keeps to; 0 for one that has none."""
  return getattr(config.search, 'depth', 0.0)


class Mapper:
  """Grid and presets of one model, compiled once per canvas."""

  def __init__(self, segmenter: types.Segmenter, seed: int):
    """Puts the parameters on the device."""
    self._segmenter = segmenter
    self._params = jax.device_put(dict(segmenter.params))
    self._key = jax.random.key(seed)
    self._grid = jax.jit(self._evaluate, static_argnums=3)
    self._attacks: dict[presets.AttackConfig, Any] = {}

  def _evaluate(self, params: Any, batch: types.Batch, stride: Any, count: int) -> grid.Grid:
    return grid.grid(self._segmenter.with_params(params), batch, stride, count)

  def truth(self, batch: types.Batch, stride: int) -> dict[str, np.ndarray]:
    """The map of one instance (a batch of one): yx (n, 2); iou, biou, predicted (n,); stride ()."""
    legal = np.asarray(batch.mask[0]) & ~np.asarray(batch.ignore[0])
    stride = stride or grid.stride_for(legal)
    wanted = int(np.count_nonzero(grid.lattice(legal, np.asarray(stride))))
    # Few counts, so that few programs are compiled; positions that do not exist cost nothing.
    count = 4096
    while count < wanted + 1:
      count *= 2
    strides = np.full(1, stride, np.int32)
    found = jax.device_get(self._grid(self._params, batch, strides, count))
    some = found.exists[0]
    return {
      'yx': found.yx[0][some],
      'iou': found.iou[0][some],
      'biou': found.biou[0][some],
      'predicted': found.predicted[0][some],
      'stride': np.int32(stride),
    }

  def attack(self, batch: types.Batch, config: presets.AttackConfig) -> dict[str, np.ndarray]:
    """A preset's first clicks: yx (3, 2), iou and biou (3,), spent (2,), hidden ()."""
    if config not in self._attacks:
      self._attacks[config] = jax.jit(
        lambda params, batch, key: tetris_jax.attack(
          self._segmenter.with_params(params), batch, config
        )._replace(mask=None)
      )
    found = jax.device_get(self._attacks[config](self._params, batch, self._key))
    return {
      'yx': found.clicks.yx[0, :, 0],
      'iou': found.iou[0, :, 0],
      'biou': found.biou[0, :, 0],
      'spent': np.array([found.forward[0], found.backward[0]]),
      'hidden': np.float32(checks.hidden(found, 0)),
    }


def read_map(path: pathlib.Path, names: Iterable[str]) -> dict[str, np.ndarray] | None:
  """The arrays of a finished map.

  Args:
    path: of its .npz.
    names: of the presets that it must hold.

  Returns:
    The arrays by name; None where the file is absent, or, which is said, damaged.

  Raises:
    results.WorkdirError: it cannot be read at all.
  """
  try:
    stored = path.read_bytes()
  except FileNotFoundError:
    return None
  except OSError as error:
    raise results.WorkdirError(f'cannot read {path}: {error.strerror or error}') from error
  wanted = {*_TRUTH, 'legal', *(f'{name}/{key}' for name in names for key in _ATTACK)}
  try:
    with zipfile.ZipFile(io.BytesIO(stored)) as archive:
      for member in archive.infolist():
        if member.compress_type != zipfile.ZIP_DEFLATED:
          raise zipfile.BadZipFile(f'{member.filename} is not deflated')
      # Checksums first: an altered header could ask for any amount of memory.
      if (bad := archive.testzip()) is not None:
        raise zipfile.BadZipFile(f'wrong checksum of {bad}')
    with np.load(io.BytesIO(stored)) as file:
      made = {name: file[name] for name in file.files}
    if missing := sorted(wanted - set(made)):
      raise zipfile.BadZipFile(f'{missing[0]} is missing')
  # zipfile raises RuntimeError where a flag says encrypted or a newer version.
  except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError) as error:
    print(f'{path} is damaged ({error}); done again', file=sys.stderr)
    return None
  return made


def _write_map(path: pathlib.Path, made: Mapping[str, np.ndarray]) -> None:
  file = io.BytesIO()
  np.savez_compressed(file, allow_pickle=False, **dict(made))
  results.write_atomically(path, file.getvalue())


def _empty(
  instance: str, status: str, reason: str, size: tuple[int, int] | None
) -> dict[str, Any]:
  """The row of an instance without numbers."""
  sides = None if size is None else [int(side) for side in size]
  return {'instance': instance, 'status': status, 'reason': reason, 'size': sides}


def _sparse(positions: int, legal_pixels: int, stride: int) -> str | None:
  """Why a map says too little of its region for a mean; None where it says enough."""
  if positions >= min(FEWEST, legal_pixels):
    return None
  return (
    f'{positions} position{"" if positions == 1 else "s"} for {legal_pixels} legal pixels at '
    f'stride {stride}, at least {FEWEST} are needed; give a smaller --stride'
  )


def _row(
  sample: data.Sample, made: Mapping[str, np.ndarray], configs: Sequence[presets.AttackConfig]
) -> dict[str, Any]:
  """What `shares.json` says of a map whose numbers are all finite."""
  yx, iou, legal = made['yx'], made['iou'], made['legal']
  at = np.rint(yx).astype(int)
  depth = np.asarray(region.inner_depth(legal))[at[:, 0], at[:, 1]]
  everywhere = np.ones(len(yx), bool)
  # The first position is the robot user's click, which need not lie on the lattice.
  even = (np.arange(len(yx)) > 0) | (len(yx) == 1)
  diagonal = float(np.hypot(*legal.shape))
  pixels, stride = int(np.count_nonzero(legal)), int(made['stride'])
  found = {}
  for config in configs:
    own = {key: made[f'{config.name}/{key}'] for key in _ATTACK}
    # A search that keeps to a depth is measured against what lies there.
    there = np.where(depth > depth_of(config), iou, np.nan) if depth_of(config) else iou
    _, low, high = own['iou'][:, None]
    share = float(coverage.share_of_range(low, high, there[None])[0])
    hidden = float(own['hidden'])
    found[config.name] = {
      'min': float(low[0]),
      'max': float(high[0]),
      'forward': int(own['spent'][0]),
      'backward': int(own['spent'][1]),
      'share_of_range': None if np.isnan(share) else share,
      'hidden': None if np.isnan(hidden) else hidden,
    }
  return {
    'instance': sample.instance,
    'status': 'ok',
    'reason': '',
    'size': [int(side) for side in sample.size],
    'stride': stride,
    'positions': len(iou),
    'legal_pixels': pixels,
    'left_out': _sparse(len(iou), pixels, stride),
    'min': float(iou.min()),
    'base': float(iou[0]),
    'max': float(iou.max()),
    'presets': found,
    **priors.outlook(yx, iou, depth, everywhere, even, yx[0], diagonal),
  }


def _complaint(made: Mapping[str, np.ndarray], names: Iterable[str]) -> str:
  """Why a map is no result; '' where it is one."""
  for where in ('', *(f'{name}/' for name in names)):
    for key, title in (('iou', 'IoU'), ('biou', 'boundary IoU')):
      if not np.isfinite(made[f'{where}{key}']).all():
        whose = where.rstrip('/') or 'the map'
        return f'{title} of a click of {whose} is not a finite number'
  return ''


def _map(
  sample: data.Sample,
  canvas: tuple[int, int],
  mapper: Mapper,
  configs: Sequence[presets.AttackConfig],
  stride: int,
  path: pathlib.Path,
) -> dict[str, np.ndarray]:
  """The arrays of an instance, those of an earlier run where they are whole."""
  legal = sample.mask & ~sample.ignore
  made = read_map(path, [config.name for config in configs])
  if made is not None and not np.array_equal(made['legal'], legal):
    print(f'{path} is of another mask; done again', file=sys.stderr)
    made = None
  if made is None:
    batch, _ = data.stack([sample], canvas, 1)
    made = {**mapper.truth(batch, stride), 'legal': legal}
    for config in configs:
      found = mapper.attack(batch, config)
      made |= {f'{config.name}/{key}': value for key, value in found.items()}
    _write_map(path, made)
  return made


def _draw(
  sample: data.Sample,
  made: Mapping[str, np.ndarray],
  row: Mapping[str, Any],
  path: pathlib.Path,
) -> str | None:
  """Draws a map; returns the picture's file name, None where it was not drawn, which is said."""
  shares = {name: found['share_of_range'] for name, found in row['presets'].items()}
  try:
    picture = heatmap_picture.draw(sample.instance, sample.image, made, shares)
  except Exception as error:  # Numbers are not given up for a picture.
    reason = runner.reason_of(error)
    print(f'{sample.instance!r} was not drawn: {reason}', file=sys.stderr)
    path.unlink(missing_ok=True)
    return None
  results.write_atomically(path, picture)
  return path.name


def _instance(
  sample: data.Sample | data.Rejected,
  canvas: tuple[int, int],
  mapper: Mapper,
  configs: Sequence[presets.AttackConfig],
  stride: int,
  path: pathlib.Path,
) -> dict[str, Any]:
  """The row of an instance, whose map and picture are written."""
  if isinstance(sample, data.Rejected):
    return _empty(sample.instance, sample.status, sample.reason, sample.size)
  if not (sample.mask & ~sample.ignore).any():
    reason = 'every pixel of its object is ignored'
    return _empty(sample.instance, 'skipped', reason, sample.size)
  start = time.perf_counter()
  made = _map(sample, canvas, mapper, configs, stride, path.with_suffix('.npz'))
  if complaint := _complaint(made, [config.name for config in configs]):
    return _empty(sample.instance, 'failed', complaint, sample.size)
  row = _row(sample, made, configs)
  row |= {'map': path.with_suffix('.npz').name, 'picture': _draw(sample, made, row, path)}
  shares = ', '.join(
    f'{name} {"-" if found["share_of_range"] is None else format(found["share_of_range"], ".3f")}'
    for name, found in row['presets'].items()
  )
  took = time.perf_counter() - start
  print(f'{sample.instance!r}: {row["positions"]} positions, {took:.1f} s; {shares}', flush=True)
  if row['left_out']:
    print(f'warning: {sample.instance!r} enters no mean: {row["left_out"]}', file=sys.stderr)
  return row


def run(
  dataset: data.Dataset,
  mapper: Mapper,
  configs: Sequence[presets.AttackConfig],
  stride: int,
  maps: pathlib.Path,
  shard: tuple[int, int] = (0, 1),
) -> list[dict[str, Any]]:
  """Maps every instance of a shard that has no whole map yet.

  An instance that raises becomes a failed row, and is tried again when the run is resumed.

  Args:
    dataset: the instances; shards are cut from all of them.
    mapper: what evaluates.
    configs: the presets, for one click.
    stride: of the lattice in pixels, or 0.
    maps: the folder of arrays and pictures.
    shard: its number, and how many there are.

  Returns:
    Rows of `shares.json` in data set order, of instances without numbers too.

  Raises:
    results.WorkdirError: something cannot be read or written.
  """
  # Each canvas once, so that its programs are compiled once.
  groups, unsized = data.plan(dataset, 1)
  rows = {}
  for group in groups[shard[0] :: shard[1]]:
    index = group.indices[0]
    name = dataset.names[index]
    path = maps / runner.picture_name(index, name)
    try:
      rows[index] = _instance(dataset[index], group.canvas, mapper, configs, stride, path)
    except results.WorkdirError:
      raise  # No instance can be written.
    except Exception as error:  # Whatever it is, it ends as a row with a reason.
      print(''.join(traceback.format_exception(error)).rstrip(), file=sys.stderr)
      rows[index] = _empty(name, 'failed', runner.reason_of(error), dataset.size(index))
  unsized = unsized if shard[0] == 0 else ()
  rows |= dict(zip(unsized, runner.unsized_rows(dataset, unsized, _empty), strict=True))
  made = [rows[index] for index in sorted(rows)]
  for row in made:
    if row['status'] != 'ok':
      print(f'{row["instance"]!r}: {row["status"]}, {row["reason"]}', file=sys.stderr)
  return made
