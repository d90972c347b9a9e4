"""The table of metrics: what reports make of IoU curves, and how they print it.

Reports go through `METRICS` and spell no metric of their own. A new one is one more row, made by
`register`; it is then in `summary.json` under its name, and in the tables of `report.md` and of
`comparison.*`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from tetris_jax.scores import metrics

__all__ = [
  'CURVES',
  'METRICS',
  'NOC',
  'NOF',
  'ORDER',
  'QUALITY',
  'ROBUST',
  'STANDARD',
  'Metric',
  'compared',
  'of_kind',
  'quality_name',
  'register',
]

ORDER = ('min', 'base', 'max')
"""Modes as a table lists them; arrays hold them in the order of `tetris_jax.types.MODES`."""

CURVES = ('iou', 'biou')
"""What trajectories and rows hold after each click: IoU, and IoU of boundaries."""

QUALITY = 0.90
"""The one of a metric's qualities that a comparison of runs shows, as the field does."""

_KINDS = ('mode', 'range', 'click')
_FORMATS = ('x100', 'clicks', 'count')
_DIRECTIONS = ('higher', 'lower', None)
_COMPARED = ('printed', 'kept', 'no')

# What summaries and lines of a comparison hold beside metrics.
_TAKEN = frozenset(
  ('n', 'n_ok', 'n_failed', 'n_skipped', 'n_warned', 'n_outside', 'model', 'dataset', 'preset')
  + ('num_clicks', 'forward', 'backward', 'levels', 'quantiles', 'hidden', 'users', 'estimates')
  + ('evaluations_per_second', 'device_seconds', 'compile_seconds', 'programs')
  + ('rank', 'robust_rank', 'ranks', 'curves', 'first', 'instances', 'pictures', 'reasons', 'facts')
)


def quality_name(quality: float) -> str:
  """An IoU as the field names it: "90" as in NoC@90."""
  return f'{100 * quality:.0f}'


@dataclasses.dataclass(frozen=True)
class Metric:
  """One row of the table.

  Attributes:
    name: its key in `summary.json`, a Python identifier.
    title: as tables print it; "{quality}" in it stands for one of `qualities`.
    score: curves (num_instances, num_clicks) -> (num_instances,) numbers, NaN where an instance has
      none. Of kind "range" it takes the curves of MIN and those of MAX; of kind "click" it returns
      (num_instances, num_clicks); with `qualities` it takes one of them as `quality`.
    curves: which curves it reads, of `CURVES`.
    kind: "mode", one number for each of MIN, BASE and MAX; "range", one for MIN and MAX together;
      "click", for each mode one after each click.
    format: "x100", a number in [0, 1]; "clicks"; or "count", of which a summary holds the sum over
      instances, where it holds the mean of the others.
    direction: "higher" or "lower", which is better; None where neither is.
    qualities: IoUs at which it is taken; none for most.
    column: of a "range", the metric of kind "mode" in whose column a report prints it; by default
      it has one of its own.
    label: as figures call it. Default: `title`.
    compared: "printed" in a comparison of runs, only "kept" for programs (JSON and CSV), or "no".
  """

  name: str
  title: str
  score: Callable[..., np.ndarray]
  curves: str = 'iou'
  kind: str = 'mode'
  format: str = 'x100'
  direction: str | None = 'higher'
  qualities: tuple[float, ...] = ()
  column: str | None = None
  label: str = ''
  compared: str = 'printed'

  def __post_init__(self):
    if not self.name.isidentifier():
      raise ValueError(f'name={self.name!r}: expected a Python identifier')
    for field, known in (
      ('curves', CURVES),
      ('kind', _KINDS),
      ('format', _FORMATS),
      ('direction', _DIRECTIONS),
      ('compared', _COMPARED),
    ):
      value = getattr(self, field)
      if value not in known:
        raise ValueError(f'{self.name}: {field}={value!r}, expected one of {known}')
    if self.kind != 'mode' and (self.qualities or self.format == 'count'):
      raise ValueError(f'{self.name}: qualities and counts are for metrics of kind "mode"')
    if self.kind == 'click' and self.compared != 'no':
      raise ValueError(f'{self.name}: compared={self.compared!r}, but a comparison has no clicks')
    if self.column is not None and self.kind != 'range':
      raise ValueError(f'{self.name}: column={self.column!r} is for metrics of kind "range"')
    if self.qualities and self.compared != 'no' and QUALITY not in self.qualities:
      raise ValueError(f'{self.name}: compared at {QUALITY}, which is none of its qualities')

  def titled(self, *, quality: float = QUALITY) -> str:
    """Its title, at that quality if it is taken at qualities."""
    return self.title.format(quality=quality_name(quality)) if self.qualities else self.title


def _each_click(iou: np.ndarray) -> np.ndarray:
  return iou


STANDARD = Metric('iou_auc', 'IoU-AuC', metrics.iou_auc)
"""What models are ranked by as usual, that of BASE."""

ROBUST = Metric(
  'd', 'D', metrics.robustness, kind='range', direction='lower', column='iou_auc'
)
"""What models are ranked by as robust."""

NOC = Metric(
  'noc', 'NoC@{quality}', metrics.noc, format='clicks', direction='lower',
  qualities=metrics.QUALITIES,
)  # fmt: skip
"""Mean clicks to a quality."""

NOF = Metric(
  'nof', 'NoF@{quality}', metrics.failed, format='count', direction='lower',
  qualities=metrics.QUALITIES, compared='no',
)  # fmt: skip
"""Instances that take all clicks to reach it, or more."""

METRICS = {
  metric.name: metric
  for metric in (
    STANDARD,
    Metric('biou_auc', 'BIoU-AuC', metrics.iou_auc, curves='biou', compared='kept'),
    ROBUST,
    Metric('biou_d', 'BIoU-D', metrics.robustness, curves='biou', kind='range',
           direction='lower', column='biou_auc', compared='no'),
    Metric('per_click', 'IoU', _each_click, kind='click', compared='no'),
    Metric('per_click_biou', 'BIoU', _each_click, curves='biou', kind='click',
           label='boundary IoU', compared='no'),
    NOC,
    NOF,
  )
}  # fmt: skip
"""By name, in the order in which reports list them."""


def register(metric: Metric) -> None:
  """Adds a metric, after the others.

  Raises:
    ValueError: its name is taken, or `column` is none that a metric of kind "range" can have.
  """
  if metric.name in METRICS or metric.name in _TAKEN:
    raise ValueError(f'{metric.name}: reports have something of this name; choose another')
  if metric.column is not None:
    taken = [one.column for one in of_kind('range')]
    free = [one.name for one in of_kind('mode') if not one.qualities and one.name not in taken]
    if metric.column not in free:
      raise ValueError(f'{metric.name}: column={metric.column!r}, expected one of {free} or None')
  METRICS[metric.name] = metric


def of_kind(kind: str) -> list[Metric]:
  """The metrics of a kind, in their order."""
  return [metric for metric in METRICS.values() if metric.kind == kind]


def compared(*how: str) -> list[Metric]:
  """The metrics that a comparison of runs has, in their order.

  Args:
    *how: "printed", "kept" or both.
  """
  return [metric for metric in METRICS.values() if metric.compared in how]
