"""What goes wrong with weights: the one exception that readers, converters and the cache raise."""

from __future__ import annotations

__all__ = ['CheckpointError']


class CheckpointError(ValueError):
  """A file of weights is missing, damaged, hostile or not the expected one; the text says which."""
