"""Markdown that reports share: tables, and the sections on what was run and what went wrong."""

from __future__ import annotations

import pathlib
import re
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tetris_jax.report import style
from tetris_jax.runs.schema import STATUSES

__all__ = [
  'cell',
  'code',
  'counted',
  'document',
  'facts',
  'image',
  'link',
  'listed',
  'noted',
  'outside',
  'table',
  'troubles',
  'warnings',
]

_MOST_LISTED = 50
# Most presets draw nothing and have no seed.
_SHOWN_FLAGS = ('batch_size', 'limit', 'seed')


# What Markdown or HTML would take for more than text. An & alone is no entity, a bracket alone no
# link, and names of files are full of underscores.
_MEANT = re.compile(r'<|`|&(?=#?\w+;)|\](?=[\[(])|\|')
_ESCAPED = {'<': '&lt;', '&': '&amp;', '`': '\\`', ']': '\\]', '|': '\\|'}
_TARGET = "/._-,~+@=!$'*;:"


def cell(text: Any) -> str:
  """Text that ends neither a table's cell nor its line, and is neither HTML nor a link."""
  return _MEANT.sub(lambda found: _ESCAPED[found[0]], style.one_line(text))


def code(text: Any) -> str:
  """Text as code; one that would end the code or look like HTML in it, as by `cell`."""
  shown = style.one_line(text)
  tame = shown and not re.search('[`<]', shown)
  return f'`{shown.replace("|", _ESCAPED["|"])}`' if tame else cell(text)


def link(text: Any, target: str) -> str:
  """A link to a file below the report."""
  shown = cell(text)
  if shown.count('[') != shown.count(']'):
    shown = re.sub(r'\\?([\[\]])', r'\\\1', shown)
  return f'[{shown}]({_quoted(target)})'


def image(text: str, target: str) -> str:
  """A picture that lies below the report."""
  return f'![{text}]({_quoted(target)})'


def _quoted(target: str) -> str:
  return urllib.parse.quote(target, safe=_TARGET, errors='surrogateescape')


def noted(notes: Sequence[str]) -> str:
  """Notes below a table, as a list."""
  return '\n'.join(f'- {cell(note)}' for note in notes)


def table(head: Sequence[str], lines: Sequence[Sequence[str]], left: int = 1) -> str:
  """A Markdown table.

  Args:
    head: of its columns.
    lines: cells, as many in each as `head` has.
    left: how many columns, the first ones, are flush left; the others are flush right.
  """
  rule = ['---'] * left + ['---:'] * (len(head) - left)
  return '\n'.join(f'| {" | ".join(cells)} |' for cells in [head, rule, *lines])


def document(parts: Iterable[str]) -> str:
  """Paragraphs, tables and headings as one text."""
  return '\n\n'.join(parts) + '\n'


def listed(values: Mapping[str, Any]) -> str:
  """Keys and values in one line; what is nested stands in brackets."""

  def shown(value: Any) -> str:
    return f'({listed(value)})' if isinstance(value, Mapping) else str(value)

  return ', '.join(f'{key} {shown(value)}' for key, value in values.items())


def counted(summary: Mapping[str, Any]) -> str:
  """How many instances ended how, in words."""
  return ', '.join(f'{summary[f"n_{status}"]} {status}' for status in STATUSES)


def outside(summary: Mapping[str, Any]) -> str:
  """How many clicks lie outside of their pictures, by mode, in words; '' where none does."""
  beyond = {mode: count for mode, count in summary['n_outside'].items() if count}
  of = summary['n_ok'] * summary['num_clicks']
  return ', '.join(f'{count} of {mode.upper()}, of {of}' for mode, count in beyond.items())


def _cut(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
  """A table of text with no more than `_MOST_LISTED` lines."""
  text = table(head, lines[:_MOST_LISTED], left=len(head))
  if len(lines) > _MOST_LISTED:
    text += f'\n\n... and {len(lines) - _MOST_LISTED} more, see `rows.jsonl`.'
  return text


def troubles(rows: Sequence[Mapping[str, Any]]) -> str:
  """The instances without numbers and why, as a section."""
  bad = [
    [cell(row['instance']), row['status'], cell(row['reason'])]
    for row in rows
    if row['status'] != 'ok'
  ]
  return '## Instances without numbers\n\n' + _cut(['Instance', 'Status', 'Reason'], bad)


def warnings(rows: Sequence[Mapping[str, Any]]) -> str:
  """The instances that were measured and yet look wrong, as a section."""
  odd = [
    [cell(row['instance']), cell('; '.join(row['warnings']))] for row in rows if row.get('warnings')
  ]
  return '## Warnings\n\n' + _cut(['Instance', 'What looks wrong'], odd)


def _speed(summary: Mapping[str, Any]) -> list[list[str]]:
  """Lines of the facts; none where the speed is kept apart."""
  if 'evaluations_per_second' not in summary:
    return []
  rate = summary['evaluations_per_second']
  return [
    ['Speed', style.NOTHING if rate is None else f'{rate:.1f} evaluations/s, compiling aside'],
    ['Compiling', f'{summary["compile_seconds"]:.1f} s, programs: {summary.get("programs", "?")}'],
  ]


def facts(summary: Mapping[str, Any], config: Mapping[str, Any]) -> str:
  """What was run, on what and how fast, as a section.

  Args:
    summary: of the run.
    config: as its `config.json` holds it.
  """
  flags, devices = config['flags'], config['devices']
  where = f' at {code(flags["data_dir"])}' if flags['data_dir'] else ''
  # The sums go by the published file's name, whatever file of that layout was given.
  given = pathlib.PurePath(flags.get('weights') or '').name
  weights = config['model']['sha256'].items()
  lines = [
    ['Model', cell(config['model']['name'])],
    *(['Weights', f'{code(name)}, sha256 {code(sha)}'] for name, sha in weights),
    *([['Weights given', f'{code(given)}, in place of the published file']] if given else []),
    ['Data set', f'{cell(flags["dataset"])}{where}, {config["instances"]["count"]} instances'],
    ['Flags', cell(', '.join(f'{key} {flags[key]}' for key in _SHOWN_FLAGS if key in flags))],
    ['Preset', cell(listed(config['preset']))],
    ['Evaluations', f'{summary["forward"]} forward, of which {summary["backward"]} with gradient'],
    *_speed(summary),
    ['Device', cell(f'{devices["count"]} x {devices["kind"]} ({devices["platform"]})')],
    ['Versions', cell(listed(config['versions']))],
  ]
  return '## Run\n\n' + table(['', ''], lines, left=2)
