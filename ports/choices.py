"""Options of models that are picked by name."""

from __future__ import annotations

from collections.abc import Collection

__all__ = ['check']


def check(what: str, value: str, known: Collection[str]) -> None:
  """Raises ValueError, naming all that there are, for a value that is none of them.

  Args:
    what: the argument's name.
    value: what was asked for.
    known: all that may be.
  """
  if value not in known:
    raise ValueError(f'{what} is {value!r}; known: {", ".join(known)}')
