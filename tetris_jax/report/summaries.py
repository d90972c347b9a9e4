"""What the summaries of all runs have in common: counts of rows, rounded estimates, speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tetris_jax.runs.schema import STATUSES
from tetris_jax.scores.statistics import Estimate

__all__ = ['counts', 'entry', 'measured', 'speed']

_DECIMALS = 6


def measured(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
  """The rows that have numbers."""
  return [row for row in rows if row['status'] == 'ok']


def counts(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
  """How many rows ended how: "n_ok", "n_failed" and "n_skipped"."""
  return {f'n_{status}': sum(row['status'] == status for row in rows) for status in STATUSES}


def entry(estimate: Estimate) -> dict[str, Any]:
  """An estimate as a summary holds it: its fields by name, rounded to six decimals."""
  return {
    key: round(value, _DECIMALS) if isinstance(value, float) else value
    for key, value in estimate._asdict().items()
  }


def speed(totals: Mapping[str, float]) -> dict[str, Any]:
  """How fast a run was, as a summary holds it.

  Args:
    totals: of its batches: "seconds" on the device, "compile_seconds", "evaluations" and, where
      counted, how many "programs" were compiled.

  Returns:
    "evaluations_per_second", compiling aside and None where nothing ran; "device_seconds",
    "compile_seconds" and "programs".
  """
  rate = totals['evaluations'] / totals['seconds'] if totals['seconds'] else None
  return {
    'evaluations_per_second': rate and round(rate, 3),
    'device_seconds': round(totals['seconds'], 3),
    'compile_seconds': round(totals['compile_seconds'], 3),
    'programs': int(totals.get('programs', 0)),
  }
