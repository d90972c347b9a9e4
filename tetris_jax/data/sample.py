"""One instance to segment, and one that could not be read."""

from __future__ import annotations

import dataclasses

import numpy as np

__all__ = ['Rejected', 'Sample']


@dataclasses.dataclass(frozen=True)
class Sample:
  """A picture and one object in it.

  Attributes:
    instance: stable name, unique in its data set; it is the key of the instance's row.
    image: (height, width, 3) uint8 RGB.
    mask: (height, width) bool, the object.
    ignore: (height, width) bool, pixels that no metric counts.
    warnings: what its row has to say before its numbers are trusted, a clause each.
  """

  instance: str
  image: np.ndarray
  mask: np.ndarray
  ignore: np.ndarray
  warnings: tuple[str, ...] = ()

  @property
  def size(self) -> tuple[int, int]:
    """(height, width) in pixels."""
    return self.mask.shape[0], self.mask.shape[1]


@dataclasses.dataclass(frozen=True)
class Rejected:
  """An instance that gets a row without numbers.

  Attributes:
    instance: stable name, as in `Sample`.
    status: "failed" (it should have worked: damaged, unreadable) or "skipped" (there is nothing
      to measure: empty mask).
    reason: one sentence that names what was found.
    size: (height, width) in pixels where it is known.
  """

  instance: str
  status: str
  reason: str
  size: tuple[int, int] | None = None
