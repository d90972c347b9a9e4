"""Evaluates the clicks of a finished run again and compares IoU and boundary IoU with its rows.

  python -m experiments.replay --workdir=runs/mine

Data set, model and batches are those of the run's config.json; plugins that it was made with have
to be named here too, for a folder that came from elsewhere imports no code. Nothing is written.
Ends with 0 when no number differs by more than --tolerance, 3 when some do (they are listed), 2
when the run cannot be read or has no number to compare, and with 130 when interrupted.
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

import tetris_jax
from experiments import attack
from experiments.lib import flags, launch, opening, progress, redraw
from experiments.lib import settings as lib
from tetris_jax import data, types
from tetris_jax.report import style
from tetris_jax.runs import configs, pieces
from tetris_jax.runs import workdirs as results
from tetris_jax.runs.typed import shown

__all__ = ['Difference', 'Settings', 'compare', 'execute', 'main']


_SHOWN = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(lib.Plugins):
  """What may be asked of a replay; see this program's `--help`."""

  workdir: str | None = lib.setting(
    None, 'The folder of a finished run of experiments.attack.', path=True
  )
  tolerance: float = lib.setting(
    0.0, 'Of the difference between a number and its replay.', least=0
  )

  @property
  def doing(self) -> str:
    """What the program is asked to do."""
    return f'replay: {self.workdir}'

  @property
  def uses_device(self) -> bool:
    """Clicks are evaluated there."""
    return True


class Difference(NamedTuple):
  """A number that its replay does not restore.

  Attributes:
    instance: its name.
    what: "iou" or "biou".
    mode: "min", "base" or "max".
    click: from 1.
    reported: the row's number.
    replayed: the new one; NaN where the model's answer is not finite.
  """

  instance: str
  what: str
  mode: str
  click: int
  reported: float
  replayed: float


def compare(
  segmenter: types.Segmenter,
  dataset: data.Dataset,
  rows: Sequence[Mapping[str, Any]],
  batch_size: int,
) -> tuple[int, list[Difference]]:
  """Replays the rows that are "ok".

  Args:
    segmenter: the model of the run.
    dataset: its instances.
    rows: of its `rows.jsonl`.
    batch_size: of the run, so that the same shapes are compiled.

  Returns:
    How many numbers were compared, and those that differ at all.

  Raises:
    results.WorkdirError: an instance of the rows can no longer be read.
  """
  ok = {row['instance']: row for row in rows if row['status'] == 'ok'}
  params = jax.device_put(dict(segmenter.params))
  replay = jax.jit(
    lambda params, batch, clicks: tetris_jax.replay(
      segmenter.with_params(params), batch, clicks
    )._replace(mask=None)
  )
  left = set(ok)
  compared, different = 0, []
  for group in data.plan(dataset, batch_size)[0]:
    names = [name for name in (dataset.names[i] for i in group.indices) if name in ok]
    entries = [dataset[i] for i in group.indices if dataset.names[i] in ok]
    samples = [entry for entry in entries if isinstance(entry, data.Sample)]
    if not names:
      continue
    left -= {sample.instance for sample in samples}
    if left & set(names):
      break
    modes = [mode for mode in types.MODES if ok[names[0]]['iou'][mode] is not None]
    clicks = redraw.clicks_of([ok[name] for name in names], batch_size)
    batch = data.stack(samples, group.canvas, batch_size)[0]
    found = jax.device_get(replay(params, batch, clicks))
    for slot, name in enumerate(names):
      for what, values in (('iou', found.iou), ('biou', found.biou)):
        for m, mode in enumerate(modes):
          reported = np.asarray(ok[name][what][mode], np.float32)
          compared += reported.size
          for click in np.flatnonzero(values[slot, m] != reported):
            pair = float(reported[click]), float(values[slot, m, click])
            different.append(Difference(name, what, mode, int(click) + 1, *pair))
  if left:
    shown_first = ', '.join(map(style.short, sorted(left)[:_SHOWN]))
    more = f' and {len(left) - _SHOWN} more' if len(left) > _SHOWN else ''
    raise results.WorkdirError(f'cannot be read any more: {shown_first}{more}')
  return compared, different


def _load(
  folder: pathlib.Path, imported: Sequence[str] = ()
) -> tuple[attack.Settings, list[dict[str, Any]]]:
  """The settings and the rows of a run.

  Raises:
    UsageError: it was made with plugins that are not `imported`.
    results.WorkdirError: it is none, or rows do not belong together.
  """
  config = pieces.read_config(folder)
  try:
    asked = flags.of_document(attack.Settings, config['flags'])
  except (ValueError, lib.UsageError) as error:
    raise results.WorkdirError(
      f'{folder} is no finished run of this version: config.json: {error}'
    ) from error
  if not asked.batch_size or asked.batch_size == lib.AUTO:
    raise results.WorkdirError(f'{folder}: config.json: flags.batch_size says no number')
  if missing := [name for name in asked.plugins if name not in imported]:
    raise lib.UsageError(
      f'{folder} was made with plugins, which are code; where you trust them, give '
      f'--plugins={",".join(map(style.short, missing))} here too'
    )
  rows = results.read_rows(folder / 'rows.jsonl')
  ok = [row for row in rows if row['status'] == 'ok']
  for row in ok:
    for complaint in configs.unlike(row, ok[0], config, 'attack'):
      raise results.WorkdirError(f'{folder}: instance {shown(row["instance"])}: {complaint}')
  return asked, rows


def execute(settings: Settings) -> int:
  """Replays a run and says what differs.

  Returns:
    The exit status that the module's docstring lists.

  Raises:
    UsageError: no run is named, or its data or weights cannot be used.
    results.WorkdirError: the run cannot be read, or has no number.
  """
  if not settings.workdir:
    raise lib.UsageError('--workdir is missing: the folder of a finished run')
  asked, rows = _load(pathlib.Path(settings.workdir), settings.plugins)
  segmenter, dataset = opening.open_segmenter(asked), opening.open_dataset(asked)
  with progress.ticking(f'evaluating {len(rows):,} rows again'):
    compared, different = compare(segmenter, dataset, rows, asked.slots)
  if not compared:
    raise results.WorkdirError(f'{settings.workdir} has no row whose numbers could be compared')
  sizes = [abs(d.reported - d.replayed) for d in different]
  far = [d for d, size in zip(different, sizes, strict=True) if not size <= settings.tolerance]
  for d in far:
    print(f'{style.one_line(d.instance)}: {d.what} of {d.mode.upper()} after click {d.click} is '
          f'{d.replayed:.6f}, reported {d.reported:.6f}')
  largest = f', by at most {max(sizes):.2g}' if different else ''
  print(f'{compared} numbers compared, {len(different)} differ{largest}')
  return launch.FAILED if far else launch.DONE


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the program; returns the exit status that the module's docstring lists."""
  return launch.run(__doc__, Settings, execute, argv)


if __name__ == '__main__':
  sys.exit(main())
