"""What driver and workers tell each other; to read it takes nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
  from experiments.lib import loop
  from tetris_jax.runs import schema

__all__ = ['About', 'Result', 'Task']


class Task(NamedTuple):
  """A batch of a run, or a run to be opened.

  Attributes:
    run: its number in the sweep.
    asked: its settings, as a dict of `attack.Settings`.
    batch: its number in the plan; -1 to open the run only.
    canvas: of the batch, (height, width) in pixels.
    indices: of the instances to be done, positions in the data set.
  """

  run: int
  asked: Mapping[str, Any]
  batch: int = -1
  canvas: tuple[int, int] = (0, 0)
  indices: tuple[int, ...] = ()


class Result(NamedTuple):
  """What a task has come to.

  Attributes:
    asked: the settings with what was left open.
    config: what `config.json` holds of a run that is done here.
    rows: by position, of the batch.
    origins: likewise, what they were made of.
    facts: what the batch took.
    files: what lies beside the rows, by path in the work folder.
    said: lines for the user.
    error: why there is nothing of all that, with its type; '' where there is.
  """

  asked: Mapping[str, Any]
  config: Mapping[str, Any]
  rows: Mapping[int, loop.Row]
  origins: Mapping[int, schema.Origin]
  facts: schema.Facts
  files: Mapping[str, bytes]
  said: Sequence[str]
  error: str = ''


class About(NamedTuple):
  """Who a worker is.

  Attributes:
    devices: how many it has, and so how many batches it can do at once.
    kind: of its devices.
  """

  devices: int
  kind: str
