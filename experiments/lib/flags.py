"""Command-line flags of a program's settings: made of the fields, and read back into them."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from absl import flags

from experiments.lib.settings import Group
from tetris_jax.runs import typed

__all__ = ['define', 'of_document', 'read', 'usage']

_S = TypeVar('_S', bound=Group)

_DEFINE: dict[Any, Callable[..., Any]] = {
  bool: flags.DEFINE_bool,
  float: flags.DEFINE_float,
  int: flags.DEFINE_integer,
  str: flags.DEFINE_string,
}


class _NumberOrWord(flags.ArgumentParser[int | str]):
  """Reads a whole number, or a text that is checked with the settings."""

  syntactic_help = 'an integer or a word'

  def parse(self, argument: str | int) -> int | str:
    """The number where it is one."""
    try:
      return int(argument)
    except ValueError:
      return argument


def _define_number_or_word(name: str, default: int, help: str, **more: Any) -> None:
  flags.DEFINE(_NumberOrWord(), name, default, help, **more)


def _definer(annotation: Any, told: Mapping[str, Any]) -> Callable[..., Any]:
  """What defines a flag of a field's type, `... | None` aside."""
  if told['words']:
    return _define_number_or_word
  kinds = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
  kind = kinds[0] if type(None) in typing.get_args(annotation) else annotation
  if typing.get_origin(kind) is tuple:
    return flags.DEFINE_multi_string if told['multi'] else flags.DEFINE_list
  return _DEFINE[kind]


def _help(field: dataclasses.Field[Any]) -> str:
  """A field's help, with the names or choices that there are."""
  told = field.metadata
  names = told['names']() if told['names'] else told['choices']
  return f'{told["help"]} One of {", ".join(names)}.' if names else told['help']


def define(kind: type[Group], values: flags.FlagValues) -> None:
  """Defines a flag a field, and --help.

  Args:
    kind: of the settings.
    values: where the flags go; nothing else is touched.
  """
  annotations = typing.get_type_hints(kind)
  for field in dataclasses.fields(kind):
    default: Any = field.default
    if isinstance(default, tuple):
      default = list(default)
    definer = _definer(annotations[field.name], field.metadata)
    definer(field.name, default, _help(field), flag_values=values, module_name='flags')
  flags.DEFINE_bool(
    'help', False, 'Shows this.', flag_values=values, module_name='flags', short_name='h'
  )


def read(kind: type[_S], values: flags.FlagValues) -> _S:
  """The settings that parsed flags ask for.

  Raises:
    UsageError: a value that its field does not allow.
  """
  asked = {field.name: values[field.name].value for field in dataclasses.fields(kind)}
  made = {key: tuple(value) if isinstance(value, list) else value for key, value in asked.items()}
  return kind(**made)


def _in_json(annotation: Any) -> Any:
  """A field's type as JSON has it, where tuples are lists."""
  kinds = [kind for kind in typing.get_args(annotation) if typing.get_origin(kind) is tuple]
  if typing.get_origin(annotation) is tuple:
    return list[str]
  return list[str] | None if kinds else annotation


def _expected(field: dataclasses.Field[Any], annotation: Any, value: Any) -> Any:
  """The type that a field's value has in JSON, which may be a word in the place of a number."""
  words = field.metadata['words']
  if words:
    return str if value in words else int
  return _in_json(annotation)


def of_document(kind: type[_S], held: Mapping[str, Any]) -> _S:
  """The settings that the "flags" of a `config.json` ask for, which may come from anybody.

  Raises:
    ValueError: one is unknown, or of another type.
    UsageError: a value that its field does not allow.
  """
  annotations = typing.get_type_hints(kind)
  known = {field.name: field for field in dataclasses.fields(kind)}
  made = {}
  for name, value in held.items():
    if name not in known:
      raise ValueError(f'flags.{typed.told(name)} is unknown')
    expected = _expected(known[name], annotations[name], value)
    for complaint in typed.mismatches(value, expected, f'flags.{name}'):
      raise ValueError(complaint)
    made[name] = tuple(value) if isinstance(value, list) else value
  return kind(**made)


def usage(kind: type[Group], text: str) -> str:
  """What --help shows: a text, then every flag with its default."""
  values = flags.FlagValues()
  define(kind, values)
  return f'{text.strip()}\n\n{values.get_help(include_special_flags=False).strip()}'
