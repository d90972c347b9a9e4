"""The attack as a job: batches of instances to rows of trajectories, and their pictures."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Sequence

import jax

from experiments.lib import guard, loop, programs
from experiments.lib.programs import Say
from tetris_jax import data, presets, types
from tetris_jax.report.attack import overlay
from tetris_jax.runs import rows, schema
from tetris_jax.runs import workdirs as results

__all__ = ['AttackJob']


@dataclasses.dataclass(frozen=True)
class _Asked:
  """Instances of one batch, (position in the data set, sample), and the batch."""

  samples: list[tuple[int, data.Sample]]
  batch: types.Batch


def _row(found: types.Trajectories, slot: int, sample: data.Sample) -> loop.Row:
  one = jax.tree.map(lambda leaf: leaf[slot : slot + 1], found)
  return rows.trajectory_rows(one, [sample.instance], [sample.size], [sample.warnings])[0]


class AttackJob(loop.Job):
  """Searches every instance's clicks with one preset.

  Attributes:
    kind: of its rows.
    programs: on which it measures.
  """

  kind: schema.Kind = 'attack'

  def __init__(
    self,
    made: programs.Programs,
    dataset: data.Dataset,
    config: presets.AttackConfig,
    batch_size: int,
    pictures: int,
    figures: pathlib.Path,
  ):
    """Takes what stays the same over batches.

    Args:
      made: the model's programs.
      dataset: the instances.
      config: the preset.
      batch_size: instances a batch.
      pictures: how many instances are drawn, the first ones of the data set.
      figures: the folder that they are drawn into.
    """
    self.programs = made
    self._dataset, self._config, self._slots = dataset, config, made.slots(batch_size)
    self._names = dataset.names
    self._pictures, self._figures = pictures, figures

  def prepare(self, group: data.Group) -> loop.Prepared:
    """Reads the instances and stacks those that can be read."""
    samples, made = [], []
    for index in group.indices:
      entry = self._dataset[index]
      if isinstance(entry, data.Rejected):
        made.append(loop.rejected_row(self.kind, entry))
      else:
        samples.append((index, entry))
    if not samples:
      return loop.Prepared(group, made, None)
    batch, _ = data.stack([sample for _, sample in samples], group.canvas, self._slots)
    return loop.Prepared(group, made, _Asked(samples, batch))

  def attack(self, batch: types.Batch, say: Say) -> types.Trajectories:
    """Trajectories of a batch, with the masks that pictures need after some of the clicks."""
    rounds = overlay.rounds(self._config.num_clicks) if self._pictures else ()
    return self.programs.call(say, programs.attack, batch, config=self._config, rounds=rounds)

  def measure(self, given: _Asked, say: Say) -> loop.Found:
    """Attacks a batch."""
    found = self.attack(given.batch, say)
    made = [
      guard.row(self.kind, sample, functools.partial(_row, found, slot, sample), say)
      for slot, (_, sample) in enumerate(given.samples)
    ]
    evaluations = int(sum(found.forward[: len(made)]))
    return loop.Found(made, evaluations, (given.samples, found))

  def finish(self, found: loop.Found, say: Say) -> Sequence[loop.Row]:
    """Draws the pictures of a batch."""
    samples, trajectories = found.left
    if trajectories.mask is not None:
      for slot, (index, sample) in enumerate(samples):
        if found.rows[slot]['status'] == 'ok' and index < self._pictures:
          one = jax.tree.map(lambda leaf, slot=slot: leaf[slot], trajectories)
          self._draw(index, sample, one, say)
    return found.rows

  def _draw(self, index: int, sample: data.Sample, one: types.Trajectories, say: Say) -> None:
    try:
      picture = overlay.draw(sample.instance, sample.image, sample.mask, one)
    except Exception as error:  # Numbers are not given up for a picture.
      say(f'{sample.instance!r} was not drawn: {loop.reason_of(error)}')
      return
    results.write_atomically(self._picture(index), picture)

  def _picture(self, index: int) -> pathlib.Path:
    """Where an instance's picture lies. One that is absent costs no number."""
    return self._figures / loop.picture_name(index, self._names[index])

  def forget(self, index: int) -> None:
    """Removes the picture of an instance."""
    self._picture(index).unlink(missing_ok=True)
