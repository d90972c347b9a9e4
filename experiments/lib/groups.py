"""What settings are made of: fields that know their help and checks, and groups of them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

__all__ = ['Group', 'UsageError', 'setting']


class UsageError(Exception):
  """A program cannot start; the message names the flag, what was found, and what to do."""


def setting(
  default: Any,
  help: str,
  *,
  least: int | None = None,
  most: int | None = None,
  choices: Sequence[str] = (),
  words: Sequence[str] = (),
  names: Callable[[], Iterable[str]] | None = None,
  multi: bool = False,
  path: bool = False,
  recorded: str = 'always',
) -> Any:
  """A field of a `Group`.

  Args:
    default: where nothing is given.
    help: what `--help` says.
    least: smallest number allowed.
    most: largest number allowed, along with `least`.
    choices: the only values allowed.
    words: that may stand in the place of a number.
    names: gives the names that `--help` lists, when it is asked for; not checked.
    multi: a tuple is given by the same flag again and again, and not by commas.
    path: of a file or a folder, or several: `~` is the home folder also where no shell has seen it,
      and what is recorded begins at the root.
    recorded: in "flags" of config.json, where runs are told apart: "always"; "given", where it is
      not the default; or "never", for what changes no row or stands elsewhere in config.json.
  """
  told = {
    'help': help,
    'least': least,
    'most': most,
    'choices': tuple(choices),
    'words': tuple(words),
    'names': names,
    'multi': multi,
    'path': path,
    'recorded': recorded,
  }
  return dataclasses.field(default=default, metadata=told)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
  """Fields made by `setting`, checked when an object is made."""

  @property
  def doing(self) -> str:
    """What the program is asked to do, a line that is said before anything else; '' for nothing."""
    return ''

  @property
  def uses_device(self) -> bool:
    """Whether JAX has to have a device for it."""
    return False

  def __post_init__(self) -> None:
    """Raises UsageError for a value that its field does not allow."""
    for field in dataclasses.fields(self):
      value, told = getattr(self, field.name), field.metadata
      if value is None:
        continue
      if told['path']:
        object.__setattr__(self, field.name, _from_home(value))  # Before anyone has seen it.
      found = f'--{field.name}={value}'
      if told['words'] and isinstance(value, str):
        if value not in told['words']:
          raise UsageError(f'{found}: expected a number or {", ".join(told["words"])}')
        continue
      least, most = told['least'], told['most']
      if most is not None and not least <= value <= most:
        raise UsageError(f'{found}: expected {least} to {most}')
      if least is not None and value < least:
        raise UsageError(f'{found}: expected at least {least}')
      if told['choices'] and value not in told['choices']:
        raise UsageError(f'{found}: expected one of {", ".join(told["choices"])}')


def _from_home(value: str | tuple[str, ...]) -> str | tuple[str, ...]:
  """A path, or each of several, with the home folder in the place of `~`."""
  if isinstance(value, tuple):
    return tuple(os.path.expanduser(one) for one in value)
  return os.path.expanduser(value)
