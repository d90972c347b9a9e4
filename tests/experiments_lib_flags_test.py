"""Flags of settings: one a field, of its type, and back to the same object."""

import dataclasses
import re
import subprocess
import sys

import pytest
from absl import flags as absl_flags

from experiments import attack, heatmap, users
from experiments.lib import cli, flags, settings
from experiments.lib.settings import UsageError, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked(settings.Group):
  """One field of each type."""

  text: str = setting('a', 'A text.')
  maybe: str | None = setting(None, 'Perhaps a text.')
  number: int = setting(1, 'A number.', least=1)
  perhaps: int | None = setting(None, 'Perhaps a number.')
  share: float = setting(0.5, 'A share.')
  size: int | str = setting(0, 'A number or a word.', least=0, words=('auto', 'all'))
  sure: bool = setting(False, 'A choice.')
  many: tuple[str, ...] = setting(('x', 'y'), 'Some.')
  some: tuple[str, ...] | None = setting(None, 'Perhaps some.')
  again: tuple[str, ...] = setting(('u',), 'One by one.', multi=True, names=lambda: ['v', 'w'])


def parsed(kind, *given):
  values = absl_flags.FlagValues()
  flags.define(kind, values)
  values(['program', *given])
  return flags.read(kind, values)


def test_without_flags_the_defaults_come_back():
  for kind in (Asked, attack.Settings, heatmap.Settings, users.Settings):
    assert parsed(kind) == kind()


def test_flags_are_read_by_their_types():
  found = parsed(
    Asked, '--text=b', '--maybe=', '--number=3', '--perhaps', '4', '--share=1e-3', '--sure',
    '--size=auto',
    '--many=p,q', '--some=r', '--again=v', '--again=w,1',
  )  # fmt: skip
  assert found == Asked(
    text='b', maybe='', number=3, perhaps=4, share=1e-3, sure=True, size='auto',
    many=('p', 'q'), some=('r',), again=('v', 'w,1'),
  )  # fmt: skip
  assert parsed(Asked, '--many=').many == ()


def test_what_a_field_does_not_allow_is_refused():
  with pytest.raises(UsageError, match='--number=0: expected at least 1'):
    parsed(Asked, '--number=0')
  assert parsed(Asked, '--size=7').size == 7
  with pytest.raises(UsageError, match='--size=-1: expected at least 0'):
    parsed(Asked, '--size=-1')
  with pytest.raises(UsageError, match='--size=some: expected a number or auto, all'):
    parsed(Asked, '--size=some')
  with pytest.raises(absl_flags.Error, match='--share'):
    parsed(Asked, '--share=much')


def test_usage_has_the_text_and_every_flag_with_its_names():
  text = flags.usage(Asked, 'Does things.\n')
  assert text.startswith('Does things.\n\nflags:\n')
  for field in dataclasses.fields(Asked):
    assert f'{field.name}: ' in text
  assert 'One by one. One of v, w.' in text and "(default: 'x,y')" in text


IMPORTING = """
import importlib, sys
from absl import flags
for program in sys.argv[1].split(','):
  before = set(flags.FLAGS)
  module = importlib.import_module('experiments.' + program)
  own = {field for field in module.Settings.__dataclass_fields__}
  taken = own & set(flags.FLAGS)
  assert not taken, (program, taken)
  assert not any('experiments' in name for name in flags.FLAGS.flags_by_module_dict()), program
"""


def test_importing_defines_no_flag():
  names = ','.join(cli.PROGRAMS)
  root = str(attack.__file__).rpartition('/experiments/')[0]
  subprocess.run([sys.executable, '-c', IMPORTING, names], cwd=root, check=True)


def test_settings_come_back_from_a_document_and_are_checked():
  held = {'text': 'b', 'maybe': None, 'number': 2, 'share': 1, 'sure': True, 'many': []}
  found = flags.of_document(Asked, held | {'some': ['z']})
  assert found == Asked(text='b', number=2, share=1, sure=True, many=(), some=('z',))
  assert flags.of_document(Asked, {'size': 'all'}) == Asked(size='all')
  for wrong, message in (
    ({'colour': 1}, 'flags.colour is unknown'),
    ({'number': '2'}, "flags.number is '2', expected a whole number"),
    ({'size': '7'}, "flags.size is '7', expected a whole number"),
    ({'sure': 1}, 'flags.sure is 1, expected true or false'),
    ({'many': 'xy'}, "flags.many is 'xy', expected a list"),
    ({'some': [1]}, 'flags.some[0] is 1, expected a text'),
    ({'text': None}, 'flags.text is None, expected a text'),
  ):
    with pytest.raises(ValueError, match=re.escape(message)):
      flags.of_document(Asked, wrong)
  with pytest.raises(UsageError, match='--number=0: expected at least 1'):
    flags.of_document(Asked, {'number': 0})
