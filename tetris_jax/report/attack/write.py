"""Writes what one run amounts to: curves, a report for people, and the summary for programs."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tetris_jax.report import summaries
from tetris_jax.report.attack import figures, summary, tables
from tetris_jax.runs import workdirs

__all__ = ['write_run']


def write_run(
  workdir: workdirs.Workdir,
  rows: Sequence[Mapping[str, Any]],
  config: Mapping[str, Any],
  totals: Mapping[str, float],
  picture: Callable[[str], pathlib.Path | None],
  *,
  speed_apart: bool = False,
  beside: Callable[[Mapping[str, Any]], None] | None = None,
) -> dict[str, Any]:
  """Writes `figures/curves.png`, `report.md` and, last, `summary.json`.

  Args:
    workdir: where to.
    rows: of the run, in data set order.
    config: what its `config.json` holds.
    totals: as `tetris_jax.report.summaries.speed` reads them.
    picture: instance -> its picture relative to the work folder, or None.
    speed_apart: whether speed goes into `speed.json` alone, so that the other files hold nothing
      that differs between two runs of the same.
    beside: writes what else is made of the summary with the speed.

  Returns:
    The summary with the speed.

  Raises:
    workdirs.WorkdirError: something cannot be written.
  """
  made = summary.summarise(
    rows, config['model']['name'], config['preset']['name'], config['preset']['num_clicks']
  )
  speed = summaries.speed(totals)
  written = made if speed_apart else made | speed

  def shown(instance: str) -> str | None:
    file = picture(instance)
    return None if file is None else file.as_posix()

  if made['n_ok']:
    workdirs.write_atomically(workdir.path / 'figures' / 'curves.png', figures.draw_curves(made))
  text = tables.report(rows, written, config, shown)
  workdirs.write_atomically(workdir.path / 'report.md', text.encode())
  if speed_apart:
    workdir.write_json('speed.json', speed)
  if beside is not None:
    beside(made | speed)
  # The summary comes last: where it lies, the rest does too.
  workdir.write_json('summary.json', written)
  return made | speed
