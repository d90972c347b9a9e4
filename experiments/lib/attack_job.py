"""The attack as a job: batches of instances to rows of trajectories, and their pictures."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from experiments.lib import fitting, guard, loop, named, programs, redraw
from experiments.lib.programs import Say
from tetris_jax import crowd, data, presets, types
from tetris_jax.report.attack import masks as masks_lib
from tetris_jax.report.attack import overlay
from tetris_jax.runs import rows, schema
from tetris_jax.runs import workdirs as results

__all__ = ['AttackJob']


@dataclasses.dataclass(frozen=True)
class _Asked:
  """Instances, (position in the data set, sample), their batch, and the maps that users follow."""

  samples: list[tuple[int, data.Sample]]
  batch: types.Batch
  click_maps: tuple[np.ndarray, ...]


@dataclasses.dataclass(frozen=True)
class _Given:
  """What a batch has to do.

  Attributes:
    fresh: instances to be attacked; None without any.
    lost: instances that have rows and only lack their pictures; likewise.
  """

  fresh: _Asked | None
  lost: _Asked | None


class AttackJob(loop.Job):
  """Searches every instance's clicks with one preset.

  Attributes:
    kind: of its rows.
    programs: on which it measures.
  """

  kind: schema.Kind = 'attack'

  def __init__(
    self,
    made: programs.Programs | None,
    dataset: data.Dataset,
    config: presets.AttackConfig,
    batch_size: int,
    pictures: int,
    figures: pathlib.Path,
    users: crowd.Crowd | None = None,
    click_maps: data.ClickMaps | None = None,
    *,
    masks: pathlib.Path | None = None,
  ):
    """Takes what stays the same over batches.

    Args:
      made: the model's programs; None where nothing is measured.
      dataset: the instances.
      config: the preset.
      batch_size: instances a batch.
      pictures: how many instances are drawn, the first ones of the data set.
      figures: the folder that they are drawn into.
      users: who clicks beside the attack.
      click_maps: that they follow, where their prior is one of maps.
      masks: the folder that final masks are kept in, see `tetris_jax.report.attack.masks`; None for
        none.
    """
    if made is not None:
      self.programs = made
    self._dataset, self._config, self._slots = dataset, config, batch_size
    self._names = dataset.names
    self._pictures, self._figures, self._masks = pictures, figures, masks
    # Rows of instances whose pictures or masks `damage` has found lost.
    self._lost: dict[int, loop.Row] = {}
    self._users, self._maps = users, click_maps

  def prepare(self, group: data.Group) -> loop.Prepared:
    """Reads the instances and stacks those that can be read."""
    samples, made = [], []
    weights: dict[int, np.ndarray] = {}
    for index in group.indices:
      entry = self._dataset[index]
      try:
        if isinstance(entry, data.Sample) and self._maps is not None:
          files = self._dataset.files(index)
          weights[index] = self._maps.read(entry.instance, files, entry.size)
      except data.ClickMapError as error:
        entry = data.Rejected(entry.instance, 'failed', str(error), entry.size)
      if isinstance(entry, data.Rejected):
        made.append(named.rejected_row(self.kind, entry))
      else:
        samples.append((index, entry))
    lost = [one for one in samples if one[0] in self._lost]
    fresh = [one for one in samples if one[0] not in self._lost]
    asked = [self._stacked(some, group.canvas, weights) for some in (fresh, lost)]
    return loop.Prepared(group, made, _Given(*asked) if samples else None)

  def _stacked(
    self,
    samples: list[tuple[int, data.Sample]],
    canvas: tuple[int, int],
    weights: Mapping[int, np.ndarray],
  ) -> _Asked | None:
    if not samples:
      return None
    batch, _ = data.stack([one for _, one in samples], canvas, self._slots)
    if self._maps is None:
      return _Asked(samples, batch, ())
    # Padded as the pictures are; the rest of a batch repeats its last instance.
    click_maps = np.zeros(batch.mask.shape, np.float32)
    for slot in range(len(click_maps)):
      one = weights[samples[min(slot, len(samples) - 1)][0]]
      click_maps[slot, : one.shape[0], : one.shape[1]] = one
    return _Asked(samples, batch, (click_maps,))

  def attack(
    self, batch: types.Batch, say: Say, *click_maps: np.ndarray
  ) -> types.Trajectories:
    """Trajectories of a batch, with the masks drawn or kept after some of the clicks.

    Args:
      batch: the instances.
      say: told of what takes long.
      *click_maps: of the instances, where users follow maps.
    """
    return self.programs.call(say, programs.attack, batch, *click_maps, **self._asked)

  @property
  def _asked(self) -> dict[str, Any]:
    """What the program of the attack is asked for."""
    wanted = self._pictures or self._masks is not None
    rounds = overlay.rounds(self._config.num_clicks) if wanted else ()
    asked: dict[str, Any] = {'config': self._config, 'rounds': rounds}
    return asked if self._users is None else {**asked, 'users': self._users}

  def need(self, canvas: tuple[int, int]) -> int | None:
    """As `Programs.need`, of the attack on a batch on a canvas (height, width)."""
    return self.programs.need(programs.attack, *self._shapes(canvas), **self._asked)

  def _shapes(self, canvas: tuple[int, int]) -> tuple[Any, ...]:
    """What a batch looks like, and its click maps where users follow some."""
    batch = fitting.shapes(canvas, self._slots)
    return (batch,) if self._maps is None else (batch, fitting.like(batch.mask, kind=np.float32))

  def ahead(self, group: data.Group, say: Say) -> None:
    """Compiles the attack on a batch of this canvas, where one is going to be attacked."""
    if not self._lost.keys() >= set(group.indices):
      self.programs.ahead(say, programs.attack, *self._shapes(group.canvas), **self._asked)

  def measure(self, given: _Given, say: Say) -> loop.Found:
    """Attacks what is fresh, and evaluates the clicks of lost pictures again."""
    made: list[loop.Row] = []
    left = []
    if given.fresh is not None:
      samples = given.fresh.samples
      found = self.attack(given.fresh.batch, say, *given.fresh.click_maps)
      left.append((samples, found))
      made += [
        guard.row(self.kind, sample, functools.partial(self._row, found, slot, sample), say)
        for slot, (_, sample) in enumerate(samples)
      ]
    users = 0 if self._users is None else self._users.count * self._config.num_clicks
    evaluations = sum(row['forward'] + users for row in made if row['status'] == 'ok')
    if given.lost is not None:
      old = [self._lost[index] for index, _ in given.lost.samples]
      again = self._replay(given.lost.batch, old, say)
      left.append((given.lost.samples, again))
      made += old
      evaluations += int(sum(again.forward[: len(old)]))
    return loop.Found(made, evaluations, left)

  def _row(self, found: types.Trajectories, slot: int, sample: data.Sample) -> loop.Row:
    one = jax.tree.map(lambda leaf: leaf[slot : slot + 1], found)
    prior = '' if self._users is None else self._users.prior
    return rows.trajectory_rows(
      one, [sample.instance], [sample.size], [sample.warnings], prior=prior
    )[0]

  def _replay(
    self, batch: types.Batch, old: Sequence[loop.Row], say: Say
  ) -> types.Trajectories:
    clicks, rounds = redraw.clicks_of(old, self._slots), overlay.rounds(self._config.num_clicks)
    found: types.Trajectories = self.programs.call(
      say, redraw.replayed, batch, clicks, rounds=rounds
    )
    return found

  def content(self, index: int) -> str:
    """The sum of the click map that an instance's users follow."""
    if self._maps is None:
      return ''
    try:
      file = self._maps.file(self._names[index], self._dataset.files(index))
      return f'click map {hashlib.sha256(file.read_bytes()).hexdigest()}'
    except (data.ClickMapError, OSError):
      return 'no click map'  # Its row says so.

  def finish(self, found: loop.Found, say: Say) -> Sequence[loop.Row]:
    """Draws the pictures of a batch, and keeps its masks."""
    ok = {row['instance'] for row in found.rows if row['status'] == 'ok'}
    for samples, trajectories in found.left:
      if trajectories.mask is None:
        continue
      for slot, (index, sample) in enumerate(samples):
        if sample.instance not in ok:
          continue
        one = jax.tree.map(lambda leaf, slot=slot: leaf[slot], trajectories)
        self._keep(index, sample, one)
        if index < self._pictures:
          self._draw(index, sample, one, say)
    return found.rows

  def _keep(self, index: int, sample: data.Sample, one: types.Trajectories) -> None:
    """Writes the masks after the last click, and the truth."""
    if self._masks is None:
      return
    made = {masks_lib.TRUTH: masks_lib.encode_truth(sample.mask, sample.ignore)}
    height, width = sample.size
    for mode, mask in zip(types.MODES, np.asarray(one.mask)[:, -1], strict=False):
      made[mode] = masks_lib.encode_mask(mask[:height, :width])
    for kind, encoded in made.items():
      results.write_atomically(self._mask(self._masks, index, kind), encoded)

  def _mask(self, folder: pathlib.Path, index: int, kind: str) -> pathlib.Path:
    return masks_lib.named(folder / named.picture_name(index, self._names[index]), kind)

  def _draw(self, index: int, sample: data.Sample, one: types.Trajectories, say: Say) -> None:
    try:
      picture = overlay.draw(sample.instance, sample.image, sample.mask, one)
    except Exception as error:  # Numbers are not given up for a picture.
      say(f'{sample.instance!r} was not drawn: {named.reason_of(error)}')
      return
    results.write_atomically(self._picture(index), picture)

  def _picture(self, index: int) -> pathlib.Path:
    """Where an instance's picture lies. One that is absent costs no number."""
    return self._figures / named.picture_name(index, self._names[index])

  def forget(self, index: int) -> None:
    """Removes the picture of an instance, and its masks."""
    self._picture(index).unlink(missing_ok=True)
    if self._masks is not None:
      for kind in (masks_lib.TRUTH, *types.MODES):
        self._mask(self._masks, index, kind).unlink(missing_ok=True)

  def damage(self, group: data.Group, rows: Sequence[loop.Row]) -> Mapping[int, str]:
    """Whose picture or masks, of those that are asked for, are not there or not whole."""
    found = {}
    for index, row in zip(group.indices, rows, strict=True):
      if row['status'] == 'ok' and (why := self._damage(index, row)):
        found[index], self._lost[index] = why, row
    return found

  def _damage(self, index: int, row: loop.Row) -> str:
    wanted = [self._picture(index)] if index < self._pictures else []
    if self._masks is not None:
      modes = [mode for mode in types.MODES if row['iou'][mode] is not None]
      wanted += [self._mask(self._masks, index, kind) for kind in (masks_lib.TRUTH, *modes)]
    return next(filter(None, map(redraw.trouble, wanted)), '')
