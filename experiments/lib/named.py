"""Instances as runs name them, and rows of those that have no numbers."""

from __future__ import annotations

import re
from typing import Any

from experiments.lib.resume import Row
from tetris_jax import data
from tetris_jax.runs import schema
from tetris_jax.runs import workdirs as results

__all__ = [
  'failed_row',
  'fingerprint',
  'listed',
  'picture_name',
  'reason_of',
  'rejected_row',
]

_LONGEST_REASON = 300
_LONGEST_NAME = 80


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


def rejected_row(kind: schema.Kind, rejected: data.Rejected) -> Row:
  """The row of an instance that could not be read."""
  return schema.empty_row(
    kind, rejected.instance, rejected.status, rejected.reason, rejected.size
  )


def failed_row(kind: schema.Kind, dataset: data.Dataset, index: int, reason: str) -> Row:
  """The row of an instance that has no numbers because something was raised.

  Args:
    kind: of the row.
    dataset: of the instance.
    index: its position there.
    reason: why.
  """
  return schema.empty_row(kind, dataset.names[index], 'failed', reason, dataset.size(index))
