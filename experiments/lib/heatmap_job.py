"""Heat maps as a job: instances to maps of IoU over the first click, their pictures and rows."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from experiments.lib import fitting, guard, loop, named, programs, redraw
from experiments.lib.programs import Say
from tetris_jax import data, presets, truth, types
from tetris_jax.geometry import region
from tetris_jax.report.heatmaps import picture as heatmap_picture
from tetris_jax.runs import maps, rows, schema
from tetris_jax.runs import workdirs as results
from tetris_jax.scores import checks

__all__ = ['FEWEST', 'HeatmapJob']

FEWEST = 16
"""Positions below which a map says too little of a region with more pixels to enter means."""

_FEWEST_SLOTS = 4096

_Arrays = Mapping[str, np.ndarray]


# Longer side of the photographs that are kept, in pixels: about what a screen shows of one.
_PHOTOGRAPH = 800


def _grid(
  key: jax.Array,
  segmenter: types.Segmenter,
  batch: types.Batch,
  stride: Any,
  *,
  count: int,
  mask_side: int,
) -> truth.Grid:
  del key
  return truth.grid(segmenter, batch, stride, count, mask_side=mask_side)


@dataclasses.dataclass(frozen=True)
class _Asked:
  """Instances of one batch.

  Attributes:
    samples: (position in the data set, sample) of each.
    kept: arrays of those whose whole maps lie on disk, by position.
    batch: the others, in the order of `samples`; None without any.
  """

  samples: list[tuple[int, data.Sample]]
  kept: dict[int, _Arrays]
  batch: types.Batch | None


class HeatmapJob(loop.Job):
  """Maps every instance, and lets every preset search it.

  Attributes:
    kind: of its rows.
    programs: on which it measures.
  """

  kind: schema.Kind = 'heatmap'

  def __init__(
    self,
    made: programs.Programs,
    dataset: data.Dataset,
    configs: Sequence[presets.AttackConfig],
    stride: int,
    batch_size: int,
    folder: pathlib.Path,
    *,
    explorable: bool = False,
  ):
    """Takes what stays the same over batches.

    Args:
      made: the model's programs.
      dataset: the instances.
      configs: the presets, for one click.
      stride: of the lattice in pixels, or 0 to choose one for each instance.
      batch_size: instances a batch.
      folder: of maps and pictures.
      explorable: whether what `tetris_jax.report.heatmaps.explorer` shows is kept: the masks at low
        resolution, and the photographs.
    """
    self.programs = made
    self._dataset, self._configs, self._stride = dataset, configs, stride
    self._slots, self._folder, self._explorable = batch_size, folder, explorable
    self._names = dataset.names
    # Positions of instances whose maps `damage` has found whole, in batches that are done again.
    self._whole: set[int] = set()

  def _picture(self, index: int) -> pathlib.Path:
    """Where an instance's picture lies."""
    return self._folder / named.picture_name(index, self._names[index])

  def _kept(self, index: int, sample: data.Sample) -> _Arrays:
    """The arrays of an instance's map on disk.

    Raises:
      maps.DamagedMapError: it is missing, damaged, or of another mask.
    """
    path = self._picture(index).with_suffix('.npz')
    made = maps.read_map(path, [config.name for config in self._configs])
    if not np.array_equal(made['legal'], sample.mask & ~sample.ignore):
      raise maps.DamagedMapError(f'{path} is of another mask')
    if self._explorable and (absent := [key for key in maps.TO_EXPLORE if key not in made]):
      raise maps.DamagedMapError(f'{path} cannot be explored ({absent[0]} is missing)')
    return made

  def _photograph(self, index: int) -> pathlib.Path | None:
    """Where an instance's photograph lies; None where none is kept."""
    return heatmap_picture.photograph_of(self._picture(index)) if self._explorable else None

  def prepare(self, group: data.Group) -> loop.Prepared:
    """Reads the instances, and the whole maps of a batch that is done again."""
    samples: list[tuple[int, data.Sample]] = []
    made, kept = [], {}
    for index in group.indices:
      entry = self._dataset[index]
      if isinstance(entry, data.Sample) and not (entry.mask & ~entry.ignore).any():
        reason = 'every pixel of its object is ignored'
        entry = data.Rejected(entry.instance, 'skipped', reason, entry.size)
      if isinstance(entry, data.Rejected):
        made.append(named.rejected_row(self.kind, entry))
        continue
      samples.append((index, entry))
      if index in self._whole:
        kept[index] = self._kept(index, entry)
    if not samples:
      return loop.Prepared(group, made, None)
    fresh = [sample for index, sample in samples if index not in kept]
    batch = data.stack(fresh, group.canvas, self._slots)[0] if fresh else None
    return loop.Prepared(group, made, _Asked(samples, kept, batch))

  def _asked(self, positions: int) -> dict[str, int]:
    """What the program of maps is asked for."""
    # Positions that do not exist cost nothing.
    count = programs.slots_for(positions + 1, _FEWEST_SLOTS)
    return {'count': count, 'mask_side': maps.MASK_SIDE if self._explorable else 0}

  def need(self, canvas: tuple[int, int]) -> int | None:
    """As `Programs.need`, of a batch of objects as large as a canvas (height, width)."""
    batch, pixels = fitting.shapes(canvas, self._slots), canvas[0] * canvas[1]
    # A stride of 2 is chosen from 1.5 on, below which every pixel is a position.
    most = pixels // self._stride**2 if self._stride else min(pixels, round(1.5**2 * 2500))
    strides = fitting.like(batch.id, kind=np.int32)
    needs = [self.programs.need(_grid, batch, strides, **self._asked(most))]
    needs += [self.programs.need(programs.attack, batch, config=one) for one in self._configs]
    return fitting.most_of(needs)

  def ahead(self, group: data.Group, say: Say) -> None:
    """Compiles the attacks on a batch of this canvas; its positions are not counted yet."""
    if not self._whole >= set(group.indices):
      batch = fitting.shapes(group.canvas, self._slots)
      for config in self._configs:
        self.programs.ahead(say, programs.attack, batch, config=config)

  def truth(self, batch: types.Batch, say: Say) -> list[dict[str, np.ndarray]]:
    """The maps of a batch: yx (n, 2); iou, biou, predicted (n,); stride (); masks, if kept."""
    legal = np.asarray(batch.mask) & ~np.asarray(batch.ignore)
    strides = np.array([self._stride or truth.stride_for(one) for one in legal], np.int32)
    wanted = int(np.count_nonzero(truth.lattice(legal, strides), axis=(1, 2)).max())
    found = self.programs.call(say, _grid, batch, strides, **self._asked(wanted))
    out = []
    for slot, stride in enumerate(strides):
      some = found.exists[slot]
      fields = ('yx', 'iou', 'biou', 'predicted')
      arrays = {name: getattr(found, name)[slot][some] for name in fields}
      arrays['stride'] = np.asarray(stride)
      if found.mask is not None:
        arrays['masks'] = found.mask[slot][some]
      out.append(arrays)
    return out

  def attack(
    self, batch: types.Batch, config: presets.AttackConfig, say: Say
  ) -> list[dict[str, np.ndarray]]:
    """A preset's first clicks: yx (3, 2), iou and biou (3,), spent (2,), hidden () of each.

    Of a search of the whole region also tried (clicks, 2), where it clicked.
    """
    found = self.programs.call(say, programs.attack, batch, config=config)
    return [
      {
        'yx': found.clicks.yx[slot, :, 0],
        'iou': found.iou[slot, :, 0],
        'biou': found.biou[slot, :, 0],
        'spent': np.array([found.forward[slot], found.backward[slot]]),
        'hidden': np.asarray(checks.hidden(found, slot), np.float32),
        **_tried(found.byproducts.outlook, slot),
      }
      for slot in range(len(found.iou))
    ]

  def measure(self, given: _Asked, say: Say) -> loop.Found:
    """Maps the instances that have no map yet."""
    made: list[dict[str, np.ndarray]] = []
    fresh = [(index, sample) for index, sample in given.samples if index not in given.kept]
    if given.batch is not None:
      legal = [{'legal': sample.mask & ~sample.ignore} for _, sample in fresh]
      made = [one | its for one, its in zip(self.truth(given.batch, say), legal, strict=False)]
      for config in self._configs:
        for arrays, own in zip(made, self.attack(given.batch, config, say), strict=False):
          arrays |= {f'{config.name}/{key}': value for key, value in own.items()}
    spent = sum(int(one[f'{config.name}/spent'][0]) for one in made for config in self._configs)
    evaluations = spent + sum(len(one['iou']) for one in made)
    new = {index: arrays for (index, _), arrays in zip(fresh, made, strict=True)}
    return loop.Found((), evaluations, (given, new))

  def finish(self, found: loop.Found, say: Say) -> Sequence[loop.Row]:
    """Writes the maps, draws them, and sums each up as a row."""
    given, new = found.left
    return [
      guard.row(
        self.kind, sample, functools.partial(self._written, index, sample, given, new, say), say
      )
      for index, sample in given.samples
    ]

  def _written(
    self,
    index: int,
    sample: data.Sample,
    given: _Asked,
    new: Mapping[int, _Arrays],
    say: Say,
  ) -> loop.Row:
    """The row of an instance, whose map and picture lie in the folder from then on."""
    file = self._picture(index).with_suffix('.npz')
    arrays = new[index] if index in new else given.kept[index]
    depth = np.asarray(region.inner_depth(arrays['legal']))
    if index in new:
      if self._explorable:
        at = np.rint(arrays['yx']).astype(int)
        arrays = {**arrays, 'depth': depth[at[:, 0], at[:, 1]]}
      maps.write_map(file, arrays)
    row = self._row(sample, arrays, depth, file.name)
    if row['status'] == 'ok':
      row['picture'] = self._draw(index, sample, arrays, row, say)
      _tell(row, say)
    return row

  def _row(
    self, sample: data.Sample, made: _Arrays, depth: np.ndarray, file: str
  ) -> dict[str, Any]:
    # The depth that a search keeps to, where it can keep to one.
    depths = {config.name: getattr(config.search, 'depth', 0.0) for config in self._configs}
    return rows.map_row(
      sample.instance, made, depth, depths, file, _sparse(made), sample.warnings
    )

  def _draw(
    self, index: int, sample: data.Sample, made: _Arrays, row: loop.Row, say: Say
  ) -> str | None:
    """Draws a map; returns the picture's file name, None where it was not drawn, which is said."""
    path, photograph = self._picture(index), self._photograph(index)
    shares = {name: found['share_of_range'] for name, found in row['presets'].items()}
    try:
      picture = heatmap_picture.draw(sample.instance, sample.image, made, shares)
      if photograph is not None:
        small = heatmap_picture.reduced(sample.image, side=_PHOTOGRAPH)
        results.write_atomically(photograph, small)
    except results.WorkdirError:
      raise
    except Exception as error:  # Numbers are not given up for a picture.
      say(f'{sample.instance!r} was not drawn: {named.reason_of(error)}')
      path.unlink(missing_ok=True)
      return None
    results.write_atomically(path, picture)
    return path.name

  def placed(self, index: int, row: loop.Row) -> loop.Row:
    """The row with the names that its files have now."""
    if row['status'] != 'ok':
      return row
    path = self._picture(index)
    picture = row['picture'] and path.name
    return {**row, 'map': path.with_suffix('.npz').name, 'picture': picture}

  def forget(self, index: int) -> None:
    """Removes the map of an instance and its picture."""
    picture = self._picture(index)
    others = picture.with_suffix('.npz'), heatmap_picture.photograph_of(picture)
    for path in (picture, *others):
      path.unlink(missing_ok=True)

  def damage(self, group: data.Group, rows: Sequence[loop.Row]) -> Mapping[int, str]:
    """Whose map or picture is not what the shard's rows were made of."""
    ok = [
      (index, row)
      for index, row in zip(group.indices, rows, strict=True)
      if row['status'] == 'ok'
    ]
    return {index: why for index, row in ok if (why := self._damage(index, row))}

  def _damage(self, index: int, row: loop.Row) -> str:
    path, sample = self._picture(index), self._dataset[index]
    if isinstance(sample, data.Rejected):
      return f'{sample.instance!r} can no longer be read'
    try:
      self._kept(index, sample)
    except (maps.DamagedMapError, results.WorkdirError) as error:
      return str(error)
    self._whole.add(index)
    wanted = [path, *filter(None, [self._photograph(index)])]
    return next(filter(None, map(redraw.trouble, wanted)), '')


def _tried(outlook: types.Outlook | None, slot: int) -> dict[str, np.ndarray]:
  """Where a search of the whole region clicked; nothing of other ones."""
  if outlook is None:
    return {}
  return {'tried': np.asarray(outlook.yx)[slot][np.asarray(outlook.evaluated)[slot]]}


def _sparse(made: _Arrays) -> str | None:
  """Why a map says too little of its region for a mean; None where it says enough."""
  positions, pixels = len(made['iou']), int(np.count_nonzero(made['legal']))
  if positions >= min(FEWEST, pixels):
    return None
  return (
    f'{positions} position{"" if positions == 1 else "s"} for {pixels} legal pixels at '
    f'stride {int(made["stride"])}, at least {FEWEST} are needed; give a smaller --stride'
  )


def _tell(row: loop.Row, say: Say) -> None:
  """Says what a map found, what looks wrong about it, and whether it enters no mean."""
  shares = ', '.join(
    f'{name} {"-" if found["share_of_range"] is None else format(found["share_of_range"], ".3f")}'
    for name, found in row['presets'].items()
  )
  say(f'{row["instance"]!r}: {row["positions"]} positions; {shares}')
  for said in row.get('warnings', ()):
    say(f'warning: {row["instance"]!r}: {said}')
  if row['left_out']:
    say(f'warning: {row["instance"]!r} enters no mean: {row["left_out"]}')
