"""Maps IoU over where the first click is made, and shows what each preset finds of its range.

  python -m experiments.heatmap --dataset=folder --data_dir=D --preset=tetris --preset=strong_v1

Per instance into the work folder's maps/: an .npz (positions `yx` with their `iou`, `biou` and
`predicted` IoU, NaN where a model expects none; `legal`; and `<preset>/yx`, `<preset>/iou`,
`<preset>/spent`) and a picture. `shares.json` and `shares.md` hold the share of the true range
that each preset found; `summary.json` the means over instances of the extremes by depth in the
legal region (`levels`) and of IoU quantiles under click priors (`quantiles`). The same command
resumes a run that was stopped. Several machines share a run by --num_shards and --shard_id, each
with the same --workdir; `experiments.report --heatmaps=` merges what lies below it.
"""

from __future__ import annotations

import io
import os
import pathlib
import sys
import time
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from absl import app, flags, logging

import tetris_jax
from experiments import runner
from ports import errors, zoo
from tetris_jax import checks, data, presets, priors, region, results, types
from tetris_jax.report import figures, merge
from tetris_jax.search import grid

__all__ = ['Mapper', 'draw', 'main', 'run', 'share_table']


_LEAST_RANGE = 0.02


class UsageError(Exception):
  """The run cannot start; the message names the flag, what was found, and what to do."""


class Mapper:
  """Grid and presets of one model, compiled once per canvas."""

  def __init__(self, segmenter: types.Segmenter, seed: int):
    """Puts the parameters on the device."""
    self._segmenter = segmenter
    self._params = jax.device_put(dict(segmenter.params))
    self._key = jax.random.key(seed)
    self._grid = jax.jit(self._evaluate, static_argnums=3)
    self._attacks: dict[str, Any] = {}

  def _evaluate(self, params: Any, batch: types.Batch, stride: Any, count: int) -> grid.Grid:
    return grid.grid(self._segmenter._replace(params=params), batch, stride, count)

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

  def attack(self, batch: types.Batch, preset: str) -> dict[str, np.ndarray]:
    """A preset's first clicks: yx (3, 2), iou and biou (3,), spent (2,), hidden ()."""
    if preset not in self._attacks:
      config = presets.get(preset, num_clicks=1)
      self._attacks[preset] = jax.jit(
        lambda params, batch, key: tetris_jax.attack(
          self._segmenter._replace(params=params), batch, config, key
        )._replace(mask=None)
      )
    found = jax.device_get(self._attacks[preset](self._params, batch, self._key))
    _, low, high = found.iou[:, :, 0].T
    hidden = np.nan if found.tried is None else checks.hidden_range(found.tried, high - low)[0]
    return {
      'yx': found.clicks.yx[0, :, 0],
      'iou': found.iou[0, :, 0],
      'biou': found.biou[0, :, 0],
      'spent': np.array([found.forward[0], found.backward[0]]),
      'hidden': np.float32(hidden),
    }


def _read(path: pathlib.Path) -> dict[str, np.ndarray]:
  """What an earlier run left; nothing where the file is absent or damaged."""
  try:
    with np.load(path) as file:
      return {name: file[name] for name in file.files}
  except FileNotFoundError:
    return {}
  except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
    print(f'{path} is damaged ({error}); done again', file=sys.stderr)
    return {}


def _write(path: pathlib.Path, made: Mapping[str, np.ndarray]) -> None:
  file = io.BytesIO()
  np.savez_compressed(file, allow_pickle=False, **dict(made))
  results.write_atomically(path, file.getvalue())


def _field(made: Mapping[str, np.ndarray], legal: np.ndarray) -> np.ndarray:
  """IoU painted over the legal pixels, each position as the square of its stride; NaN elsewhere."""
  stride = int(made['stride'])
  height, width = legal.shape
  out = np.full((height, width), np.nan)
  yx = made['yx'].astype(int)
  # The robot user's click, the first, is on top only where it is on the lattice itself.
  for (y, x), value in zip(yx[1:], made['iou'][1:], strict=True):
    top, left = y - stride // 2, x - stride // 2
    out[max(top, 0) : top + stride, max(left, 0) : left + stride] = value
  return np.where(legal, out, np.nan)


def draw(
  instance: str,
  image: np.ndarray,
  mask: np.ndarray,
  made: Mapping[str, np.ndarray],
  names: Sequence[str],
) -> bytes:
  """Photograph with outline and robot click, then the map once per preset with its clicks.

  Args:
    instance: its name.
    image: (height, width, 3) uint8.
    mask: (height, width) bool.
    made: what an .npz holds.
    names: of the presets.

  Returns:
    A PNG file.
  """
  import matplotlib.figure

  rows, columns = np.nonzero(mask)
  margin = 0.06 * max(np.ptp(rows), np.ptp(columns)) + 4
  limits = (
    (max(columns.min() - margin, -0.5), min(columns.max() + margin, mask.shape[1] - 0.5)),
    (min(rows.max() + margin, mask.shape[0] - 0.5), max(rows.min() - margin, -0.5)),
  )
  aspect = (limits[1][0] - limits[1][1]) / (limits[0][1] - limits[0][0])
  panels = 1 + len(names)
  figure = matplotlib.figure.Figure(
    figsize=(4.2 * panels + 0.8, float(np.clip(4.2 * aspect, 2, 8)) + 1.2),
    dpi=100,
    layout='constrained',
  )
  axes = figure.subplots(1, panels, squeeze=False)[0]
  low, high = np.nanmin(made['iou']), np.nanmax(made['iou'])
  truth = float(high - low)
  field = _field(made, mask)
  grey = image.mean(-1) / 255 * 0.5 + 0.5
  for axis in axes:
    axis.contour(mask, [0.5], colors='#F0E442', linewidths=1.2)
    axis.set_xlim(*limits[0])
    axis.set_ylim(*limits[1])
    axis.set_xticks([])
    axis.set_yticks([])
  robot = made['yx'][0]
  axes[0].imshow(image)
  axes[0].plot(robot[1], robot[0], 'o', color='black', mec='white', ms=8)
  axes[0].set_title(f'{instance}\nrobot click {made["iou"][0]:.3f}', fontsize=9)
  shown = None
  for axis, name in zip(axes[1:], names, strict=True):
    axis.imshow(grey, cmap='gray', vmin=0, vmax=1)
    shown = axis.imshow(field, cmap='viridis', vmin=low, vmax=max(high, low + 1e-6))
    yx, iou = made[f'{name}/yx'], made[f'{name}/iou']
    for index, marker in ((0, 'o'), (1, 'v'), (2, '^')):
      colour = figures.COLOURS[types.MODES[index]]
      axis.plot(yx[index, 1], yx[index, 0], marker, color=colour, mec='white', ms=9, mew=1.2)
    found = float(iou[2] - iou[1])
    share = f'{found / truth:.2f}' if truth > _LEAST_RANGE else '-'
    title = f'{name}: MIN {iou[1]:.3f}  MAX {iou[2]:.3f}\nshare of range {share}'
    axis.set_title(title, fontsize=9)
  if shown is not None:
    figure.colorbar(shown, ax=axes, label='IoU of a click there', shrink=0.85)
  file = io.BytesIO()
  figure.savefig(file, format='png')
  return file.getvalue()


def _expectations(made: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """Extremes by depth in the legal region, and quantiles under click priors."""
  yx, legal = made['yx'], made['legal']
  at = np.rint(yx).astype(int)
  depth = np.asarray(region.inner_depth(legal))[at[:, 0], at[:, 1]]
  diagonal = float(np.hypot(*legal.shape))
  all_ = np.ones(len(yx), bool)
  # The first position is the robot user's click, which need not lie on the lattice.
  even = (np.arange(len(yx)) > 0) | (len(yx) == 1)
  return priors.outlook(yx, made['iou'], depth, all_, even, yx[0], diagonal)


def _share_row(instance: str, made: Mapping[str, np.ndarray], names: Sequence[str]) -> dict:
  low, high = float(np.nanmin(made['iou'])), float(np.nanmax(made['iou']))
  row: dict[str, Any] = {
    'instance': instance,
    'stride': int(made['stride']),
    'positions': len(made['iou']),
    'min': low,
    'base': float(made['iou'][0]),
    'max': high,
    'presets': {},
    **_expectations(made),
  }
  for name in names:
    iou, spent = made[f'{name}/iou'], made[f'{name}/spent']
    found = float(iou[2] - iou[1])
    hidden = float(made[f'{name}/hidden'])
    row['presets'][name] = {
      'min': float(iou[1]),
      'max': float(iou[2]),
      'forward': int(spent[0]),
      'backward': int(spent[1]),
      'share_of_range': found / (high - low) if high - low > _LEAST_RANGE else None,
      'hidden': None if np.isnan(hidden) else hidden,
    }
  return row


def share_table(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
  """Markdown: cost and mean share of the true range per preset, shares above 1 counted as 1."""
  lines = [
    f'Instances with a true range above {_LEAST_RANGE}; a forward pass costs 1, a gradient 2 more.',
    '',
    '| preset | cost | instances | mean share | lowest share |',
    '|---|---|---|---|---|',
  ]
  for name in names:
    found = [row['presets'][name] for row in rows]
    shares = [min(f['share_of_range'], 1) for f in found if f['share_of_range'] is not None]
    cost = max((f['forward'] + 2 * f['backward'] for f in found), default=0)
    mean = f'{np.mean(shares):.3f} | {np.min(shares):.3f}' if shares else '- | -'
    lines.append(f'| {name} | {cost} | {len(shares)} | {mean} |')
  return '\n'.join(lines) + '\n'


def run(
  dataset: data.Dataset,
  mapper: Mapper,
  names: Sequence[str],
  stride: int,
  workdir: pathlib.Path,
  shard: tuple[int, int] = (0, 1),
) -> list[dict[str, Any]]:
  """Maps every instance of a shard, its number and their count; returns rows of `shares.json`."""
  rows = {}
  try:
    (workdir / 'maps').mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise results.WorkdirError(f'cannot use {workdir}: {error.strerror}') from error
  # Each canvas once, so that its programs are compiled once.
  groups, unsized = data.plan(dataset, 1)
  for index in unsized if shard[0] == 0 else ():
    print(f'{dataset.names[index]}: cannot be read', file=sys.stderr)
  for group in groups[shard[0] :: shard[1]]:
    index = group.indices[0]
    sample = dataset[index]
    if isinstance(sample, data.Rejected):
      print(f'{sample.instance}: {sample.status}, {sample.reason}', file=sys.stderr)
      continue
    batch, _ = data.stack([sample], group.canvas, 1)
    path = workdir / 'maps' / runner.picture_name(index, sample.instance)
    path = path.with_suffix('.npz')
    start = time.perf_counter()
    made = _read(path)
    if not {'yx', 'iou', 'biou', 'predicted', 'stride'} <= set(made):
      made = mapper.truth(batch, stride)
    made['legal'] = sample.mask & ~sample.ignore
    for name in names:
      if f'{name}/iou' not in made:
        found = mapper.attack(batch, name)
        made |= {f'{name}/{key}': value for key, value in found.items()}
    _write(path, made)
    results.write_atomically(
      path.with_suffix('.png'), draw(sample.instance, sample.image, made['legal'], made, names)
    )
    rows[index] = _share_row(sample.instance, made, names)
    shares = ', '.join(
      f'{name} {found["share_of_range"] or float("nan"):.3f}'
      for name, found in rows[index]['presets'].items()
    )
    took = time.perf_counter() - start
    print(f'{sample.instance}: {len(made["iou"])} positions, {took:.1f} s; {shares}', flush=True)
  return [rows[index] for index in sorted(rows)]


def _shard() -> tuple[int, int]:
  """Its number and how many there are."""
  number, count = _flag('shard_id'), _flag('num_shards')
  if (number is None) != (count is None):
    raise UsageError('--shard_id and --num_shards are given together or not at all')
  if number is None:
    return 0, 1
  if not 0 <= number < count:
    raise UsageError(f'--shard_id={number} of --num_shards={count}: expected 0 to {count - 1}')
  return number, count


def _execute() -> int:
  number, count = _shard()
  try:
    dataset = data.open_dataset(_flag('dataset'), _flag('data_dir'))
  except data.DataError as error:
    raise UsageError(str(error)) from error
  if min(_flag('stride'), _flag('limit')) < 0 or _flag('every') < 1:
    raise UsageError('--stride and --limit are at least 0 and --every at least 1')
  chosen = range(0, len(dataset), _flag('every'))
  dataset = dataset.select(chosen[: _flag('limit')] if _flag('limit') else chosen)
  for name in _flag('preset'):
    try:
      if presets.get(name).search == 'none':
        raise UsageError(f'--preset={name} searches nothing; choose one that does')
    except ValueError as error:
      raise UsageError(f'--preset={name}: {error}') from error
  if _flag('model') not in zoo.MODELS:
    known = ', '.join(sorted(zoo.MODELS))
    raise UsageError(f'--model={_flag("model")} is unknown; known models: {known}')
  try:
    segmenter = zoo.segmenter(_flag('model'))
  except (errors.CheckpointError, OSError) as error:
    raise UsageError(f'--model={_flag("model")}: {error}') from error
  described = {
    'model': segmenter.info.name,
    'sha256': dict(segmenter.info.sha256),
    'dataset': merge.dataset_name(_flag('dataset'), _flag('data_dir')),
    'instances': runner.fingerprint(dataset),
    'stride': _flag('stride'),
    'seed': _flag('seed'),
    'shard': {'id': number, 'count': count},
  }
  folder = pathlib.Path(_flag('workdir'))
  if count > 1:
    folder /= f'shard-{number:05d}-of-{count:05d}'
  if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:
    jax.config.update('jax_compilation_cache_dir', str(zoo.cache_dir() / 'xla'))
  with results.open_workdir(folder, described) as workdir:
    mapper = Mapper(segmenter, _flag('seed'))
    shard = number, count
    rows = run(dataset, mapper, _flag('preset'), _flag('stride'), workdir.path, shard)
    workdir.write_json('shares.json', {'rows': rows})
    workdir.write_json('summary.json', {'n': len(rows), **priors.mean_of_rows(rows)})
    table = share_table(rows, _flag('preset'))
    results.write_atomically(workdir.path / 'shares.md', table.encode())
  print(table)
  return 0 if rows or count > 1 else 1


def _flag(name: str) -> Any:
  return flags.FLAGS[name].value


def main(argv: Sequence[str]) -> None:
  """Entry point of absl; exits with 2 when a flag, the data or the work folder cannot be used."""
  if not flags.FLAGS['verbosity'].present:
    logging.set_verbosity(logging.WARNING)
  try:
    if len(argv) > 1:
      raise UsageError(f'unexpected argument {argv[1]!r}; flags are given as --name=value')
    status = _execute()
  except (UsageError, results.WorkdirError) as error:
    print(f'error: {error}', file=sys.stderr)
    status = 2
  sys.exit(status)


if __name__ == '__main__':
  flags.DEFINE_string('model', 'mobile_sam', 'Model of the zoo.')
  flags.DEFINE_string('dataset', 'samples', f'One of {", ".join(data.DATASETS)}.')
  flags.DEFINE_string('data_dir', None, 'For --dataset=folder: images/ and masks/.')
  flags.DEFINE_integer(
    'stride', 0, 'Rows and columns between positions; 0 for about 2500 positions an instance.'
  )
  flags.DEFINE_integer('limit', 0, 'Only the first so many instances; 0 for all.')
  flags.DEFINE_integer('every', 1, 'Only every so-manieth instance, from the first.')
  flags.DEFINE_multi_string('preset', ['tetris', 'strong_v1'], 'Named attacks.')
  flags.DEFINE_integer('seed', 0, 'Of whatever a preset draws at random.')
  flags.DEFINE_string('workdir', 'runs/heatmap', 'Where results go.')
  flags.DEFINE_integer('shard_id', None, 'Which part of the instances to map.')
  flags.DEFINE_integer('num_shards', None, 'In how many parts; by default one.')
  app.run(main)
