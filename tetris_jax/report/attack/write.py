"""Writes what one run amounts to: curves, a report for people, and the summary for programs."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tetris_jax.report.attack import figures, summary, tables
from tetris_jax.runs import workdirs as results

__all__ = ['write_run']


def write_run(
  workdir: results.Workdir,
  rows: Sequence[Mapping[str, Any]],
  config: Mapping[str, Any],
  totals: Mapping[str, float],
  picture: Callable[[str], pathlib.Path | None],
  speed_apart: bool = False,
) -> dict[str, Any]:
  """Writes `figures/curves.png`, `report.md` and, last, `summary.json`.

  Args:
    workdir: where to.
    rows: of the run, in data set order.
    config: what its `config.json` holds.
    totals: of its batches: "seconds" on the device, "compile_seconds", "evaluations", and how
      many "programs" were compiled.
    picture: instance -> its picture relative to the work folder, or None.
    speed_apart: whether speed goes into `speed.json` alone, so that the other files hold nothing
      that differs between two runs of the same.

  Returns:
    The summary with the speed.

  Raises:
    results.WorkdirError: something cannot be written.
  """
  made = summary.summarise(
    rows, config['model']['name'], config['preset']['name'], config['preset']['num_clicks']
  )
  rate = totals['evaluations'] / totals['seconds'] if totals['seconds'] else None
  speed = {
    'evaluations_per_second': rate and round(rate, 3),
    'device_seconds': round(totals['seconds'], 3),
    'compile_seconds': round(totals['compile_seconds'], 3),
    'programs': int(totals.get('programs', 0)),
  }
  written = made if speed_apart else made | speed

  def shown(index: int, instance: str) -> str | None:
    del index  # In the rows; a shard has only some of them.
    file = picture(instance)
    return None if file is None else file.as_posix()

  if made['n_ok']:
    results.write_atomically(workdir.path / 'figures' / 'curves.png', figures.draw_curves(made))
  text = tables.markdown(rows, written, config, shown)
  results.write_atomically(workdir.path / 'report.md', text.encode())
  if speed_apart:
    workdir.write_json('speed.json', speed)
  # The summary comes last: where it lies, the rest does too.
  workdir.write_json('summary.json', written)
  return made | speed
