"""The loop behind an attack: batches in, shards out, the device kept busy, nothing done twice."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import re
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

import tetris_jax
from experiments import progress as progress_lib
from tetris_jax import data, mesh, presets, types
from tetris_jax.report.attack import overlay
from tetris_jax.runs import rows
from tetris_jax.runs import workdirs as results

__all__ = ['Attacker', 'fingerprint', 'listed', 'picture_name', 'reason_of', 'run']

_LONGEST_REASON = 300
_LONGEST_NAME = 80


class Attacker:
  """An attack compiled once per shape of its batches, on all devices of this process.

  Attributes:
    compile_seconds: spent on compiling so far.
  """

  def __init__(
    self, segmenter: types.Segmenter, config: presets.AttackConfig, seed: int, with_masks: bool
  ):
    """Puts the parameters on the device.

    Args:
      segmenter: the model.
      config: the preset.
      seed: of the key with which each instance's number is folded.
      with_masks: whether the masks after the first and the last click are kept.
    """
    devices = jax.local_devices()
    self._devices = len(devices)
    self._params = mesh.replicate(dict(segmenter.params), devices)
    self._compiled: dict[Any, Callable[..., types.Trajectories]] = {}
    self.compile_seconds = 0.0

    def attack(params: types.Params, batch: types.Batch, key: jax.Array) -> types.Trajectories:
      found = tetris_jax.attack(segmenter.with_params(params), batch, config)
      kept = found.mask
      if kept is not None:
        kept = kept[:, :, np.array(overlay.rounds(config.num_clicks))] if with_masks else None
      return found._replace(mask=kept)

    self._attack = jax.jit(mesh.over_devices(attack, devices))
    self._key = jax.random.key(seed)

  def slots(self, batch_size: int) -> int:
    """The smallest batch that holds `batch_size` instances and divides over the devices."""
    return -(-batch_size // self._devices) * self._devices

  def knows(self, batch: types.Batch) -> bool:
    """Whether the program for batches of this shape has been compiled."""
    return batch.mask.shape in self._compiled

  def __call__(self, batch: types.Batch) -> tuple[types.Trajectories, float]:
    """Attacks a batch.

    Returns:
      Trajectories as NumPy arrays, whose masks (batch, modes, rounds, height, width) are those
      after the first and the last click, and the seconds that it took, compiling aside.
    """
    shape = batch.mask.shape
    if not self.knows(batch):
      start = time.perf_counter()
      self._compiled[shape] = self._attack.lower(self._params, batch, self._key).compile()
      self.compile_seconds += time.perf_counter() - start
    start = time.perf_counter()
    found = jax.device_get(self._compiled[shape](self._params, batch, self._key))
    return found, time.perf_counter() - start


@dataclasses.dataclass(frozen=True)
class _Prepared:
  group: data.Group
  samples: list[data.Sample]
  rejected: list[data.Rejected]
  batch: types.Batch | None


def listed(dataset: data.Dataset) -> list[list[Any]]:
  """[name, [height, width] or None] of every instance, in order."""
  sizes = (dataset.size(index) for index in range(len(dataset)))
  return [
    [name, None if size is None else list(size)]
    for name, size in zip(dataset.names, sizes, strict=True)
  ]


def fingerprint(dataset: data.Dataset) -> dict[str, Any]:
  """What must stay the same between a run and its resumption: the instances and their sizes.

  Their pixels are not looked at, for that would read a whole data set before the first batch;
  `experiments.replay` notices rows whose pictures have changed since.
  """
  return results.fingerprint(listed(dataset))


def picture_name(index: int, instance: str) -> str:
  """The file name of an instance's picture: its position, and its name as far as files allow."""
  safe = re.sub(r'[^A-Za-z0-9._-]+', '_', instance)[:_LONGEST_NAME]
  return f'{index:05d}_{safe}.png'


def reason_of(error: BaseException) -> str:
  """An exception as the reason of a failed row: its type and first line, cut."""
  first = (str(error).strip().splitlines() or ['no message'])[0]
  return f'{type(error).__name__}: {first}'[:_LONGEST_REASON]


def _prepare(dataset: data.Dataset, group: data.Group, slots: int) -> _Prepared:
  samples: list[data.Sample] = []
  rejected: list[data.Rejected] = []
  for index in group.indices:
    entry = dataset[index]
    if isinstance(entry, data.Rejected):
      rejected.append(entry)
    else:
      samples.append(entry)
  batch = data.stack(samples, group.canvas, slots)[0] if samples else None
  return _Prepared(group, samples, rejected, batch)


def _rejected_row(rejected: data.Rejected) -> dict[str, Any]:
  return rows.empty_row(rejected.instance, rejected.status, rejected.reason, rejected.size)


def unsized_rows(
  dataset: data.Dataset,
  indices: Sequence[int],
  empty_row: Callable[..., dict[str, Any]] = rows.empty_row,
) -> list[dict[str, Any]]:
  """Rows of the instances whose header could not be read; reading them whole says why.

  Args:
    dataset: the instances.
    indices: of these.
    empty_row: makes a row without numbers, as `tetris_jax.runs.rows.empty_row`.
  """
  out = []
  for index in indices:
    entry = dataset[index]
    if isinstance(entry, data.Sample):
      reason = 'its size became known only after the batches were planned; run again'
      entry = data.Rejected(entry.instance, 'failed', reason, entry.size)
    out.append(empty_row(entry.instance, entry.status, entry.reason, entry.size))
  return out


def resume(
  workdir: results.Workdir, names: Mapping[int, Sequence[str]], beside: int
) -> tuple[dict[int, results.Shard], progress_lib.Progress]:
  """The batches that earlier calls finished, and the progress from there on.

  Args:
    workdir: where shards are; a damaged one, and one that only says why its batch raised, is done
      again.
    names: of the instances of each batch, by its number.
    beside: instances that are in no batch and need no work.

  Raises:
    results.WorkdirError: a shard is of other instances.
  """
  done: dict[int, results.Shard] = {}
  notes = []
  for number, instances in names.items():
    try:
      finished = workdir.read_shard(number, instances)
    except results.DamagedShardError as error:
      notes.append(f'{error}; its batch is done again')
      continue
    if finished is not None and not finished.facts.get('raised'):
      done[number] = finished
  count = beside + sum(len(names[number]) for number in done)
  wanted = beside + sum(map(len, names.values()))
  if done:
    notes.append(f'resuming {workdir.path}: {count} of {wanted} instances are done')
  progress = progress_lib.Progress(wanted, count)
  for note in notes:
    progress.say(note)
  return done, progress


def merge(
  workdir: results.Workdir,
  order: Sequence[str],
  shards: Mapping[int, results.Shard],
  beside: Sequence[dict[str, Any]],
  num_shards: int,
) -> tuple[list[Mapping[str, Any]], dict[str, float]]:
  """Writes the rows of all batches and adds up what they took.

  Args:
    workdir: where `rows.jsonl` goes.
    order: names of all instances of the data set.
    shards: of every batch of this part of the run.
    beside: rows of instances that are in no batch.
    num_shards: in how many parts the run is; one of several holds some of the instances only.

  Returns:
    The rows in data set order, and the totals by name.
  """
  made = [row for shard in shards.values() for row in shard.rows] + list(beside)
  there = {row['instance'] for row in made}
  own = order if num_shards == 1 else [name for name in order if name in there]
  merged = workdir.write_rows(own, made)
  totals = {
    key: sum(shard.facts.get(key, 0) for shard in shards.values())
    for key in ('seconds', 'compile_seconds', 'programs', 'evaluations')
  }
  return merged, totals


class _Run:
  """One pass over the groups that have no whole shard yet."""

  def __init__(
    self,
    dataset: data.Dataset,
    attacker: Attacker,
    workdir: results.Workdir,
    batch_size: int,
    pictures: int,
    progress: progress_lib.Progress,
  ):
    self.dataset, self.attacker, self.workdir = dataset, attacker, workdir
    self.names = dataset.names
    self.batch_size, self.pictures, self.progress = batch_size, pictures, progress

  def attack(self, prepared: _Prepared) -> tuple[list[dict[str, Any]], Any, dict[str, Any]]:
    """Rows in the group's order, the trajectories, and the facts of one batch."""
    made = [_rejected_row(rejected) for rejected in prepared.rejected]
    facts: dict[str, Any] = {
      'seconds': 0.0, 'compile_seconds': 0.0, 'programs': 0, 'evaluations': 0
    }
    found = None
    if prepared.batch is not None:
      before = self.attacker.compile_seconds
      if not self.attacker.knows(prepared.batch):
        height, width = prepared.group.canvas
        self.progress.say(f'compiling for pictures up to {height} x {width}')
        facts['programs'] = 1
      found, facts['seconds'] = self.attacker(prepared.batch)
      facts['compile_seconds'] = self.attacker.compile_seconds - before
      facts['evaluations'] = int(np.sum(found.forward[: len(prepared.samples)]))
      names = [sample.instance for sample in prepared.samples]
      made += rows.trajectory_rows(found, names, [sample.size for sample in prepared.samples])
    return self.ordered(prepared.group, made), found, facts

  def ordered(self, group: data.Group, made: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows in the order of the group's instances."""
    by_name = {row['instance']: row for row in made}
    return [by_name[self.names[index]] for index in group.indices]

  def failed(self, prepared: _Prepared, error: Exception) -> results.Shard:
    """A shard that says why a batch raised; resuming the run tries the batch again."""
    self.progress.say(''.join(traceback.format_exception(error)).rstrip())
    reason = reason_of(error)
    made = [_rejected_row(rejected) for rejected in prepared.rejected]
    known = {row['instance'] for row in made}
    made += [
      rows.empty_row(self.names[index], 'failed', reason, self.dataset.size(index))
      for index in prepared.group.indices
      if self.names[index] not in known
    ]
    facts = {'seconds': 0.0, 'compile_seconds': 0.0, 'evaluations': 0, 'raised': True}
    return results.Shard(self.ordered(prepared.group, made), facts)

  def finish(self, number: int, prepared: _Prepared, shard: results.Shard, found: Any) -> None:
    """Draws the pictures of a batch, then marks it as finished."""
    if found is not None and found.mask is not None:
      position = {self.names[index]: index for index in prepared.group.indices}
      status = {row['instance']: row['status'] for row in shard.rows}
      for slot, sample in enumerate(prepared.samples):
        index = position[sample.instance]
        if status[sample.instance] != 'ok' or index >= self.pictures:
          continue
        one = jax.tree.map(lambda leaf, slot=slot: leaf[slot], found)
        try:
          picture = overlay.draw(sample.instance, sample.image, sample.mask, one)
        except Exception as error:  # Numbers are not given up for a picture.
          self.progress.say(f'{sample.instance!r} was not drawn: {reason_of(error)}')
          continue
        name = picture_name(index, sample.instance)
        results.write_atomically(self.workdir.path / 'figures' / name, picture)
    self.workdir.write_shard(number, shard)


def _one_ahead(
  submit: Callable[[int], concurrent.futures.Future[_Prepared]], numbers: Sequence[int]
) -> Iterator[tuple[int, concurrent.futures.Future[_Prepared]]]:
  """Numbers with their futures; when one is handed out, the next has been submitted."""
  current = None
  for number in numbers:
    following = number, submit(number)
    if current is not None:
      yield current
    current = following
  if current is not None:
    yield current


def run(
  dataset: data.Dataset,
  attacker: Attacker,
  workdir: results.Workdir,
  batch_size: int,
  pictures: int,
  shard: tuple[int, int] = (0, 1),
) -> tuple[list[Mapping[str, Any]], dict[str, float]]:
  """Attacks every instance of a shard that has no row yet and merges its rows.

  A shard is every `count`-th batch of the plan of all instances, so it has the very batches that a
  run in one piece has.

  While the device works on a batch, one thread reads the next and another draws and writes the
  last. A batch that raises becomes failed rows, and is tried again when the run is resumed.

  Args:
    dataset: the instances; the batches are cut from all of them, finished or not.
    attacker: what attacks a batch.
    workdir: where shards are.
    batch_size: instances a batch.
    pictures: how many instances are drawn, the first ones of the data set.
    shard: its number, and how many there are.

  Returns:
    The rows in data set order, and the totals of all batches, also of earlier calls: device
    "seconds" aside from "compile_seconds", how many "programs" that compiled, one a canvas, and
    decoder "evaluations".

  Raises:
    results.WorkdirError: something cannot be written, or the shards are of other instances.
  """
  groups, unsized = data.plan(dataset, batch_size)
  order = dataset.names
  mine = range(shard[0], len(groups), shard[1])
  unsized = unsized if shard[0] == 0 else ()
  names = {number: [order[index] for index in groups[number].indices] for number in mine}
  shards, progress = resume(workdir, names, len(unsized))

  this = _Run(dataset, attacker, workdir, batch_size, pictures, progress)
  todo = [number for number in mine if number not in shards]
  written: concurrent.futures.Future[None] | None = None
  with (
    contextlib.closing(progress),
    concurrent.futures.ThreadPoolExecutor(1, 'reader') as reader,
    concurrent.futures.ThreadPoolExecutor(1, 'writer') as writer,
  ):
    slots = attacker.slots(batch_size)
    submit = lambda number: reader.submit(_prepare, dataset, groups[number], slots)
    for number, upcoming in _one_ahead(submit, todo):
      prepared, found = _Prepared(groups[number], [], [], None), None
      try:
        prepared = upcoming.result()
        made, found, facts = this.attack(prepared)
        batch = results.Shard(made, facts)
      except Exception as error:  # Whatever it is, it ends as rows with a reason.
        batch = this.failed(prepared, error)
      if written is not None:
        written.result()
      written = writer.submit(this.finish, number, prepared, batch, found)
      shards[number] = batch
      progress.advance(len(names[number]), batch.facts['evaluations'], batch.facts['seconds'])
    if written is not None:
      written.result()

  return merge(workdir, order, shards, unsized_rows(dataset, unsized), shard[1])
