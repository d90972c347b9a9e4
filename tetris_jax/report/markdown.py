"""Markdown that reports share: tables, and the sections on what was run and what went wrong."""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tetris_jax.report import style
from tetris_jax.runs.schema import STATUSES

__all__ = [
  'cell',
  'counted',
  'document',
  'facts',
  'listed',
  'outside',
  'table',
  'troubles',
  'warnings',
]

_MOST_LISTED = 50
# Most presets draw nothing and have no seed.
_SHOWN_FLAGS = ('batch_size', 'limit', 'seed')


def cell(text: Any) -> str:
  """Text that neither ends a table's cell nor its line."""
  return ' '.join(style.plain(text).replace('|', '\\|').split())


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
  where = f' at `{flags["data_dir"]}`' if flags['data_dir'] else ''
  # The sums go by the published file's name, whatever file of that layout was given.
  given = pathlib.PurePath(flags.get('weights') or '').name
  lines = [
    ['Model', config['model']['name']],
    *(['Weights', f'`{name}`, sha256 `{sha}`'] for name, sha in config['model']['sha256'].items()),
    *([['Weights given', f'`{given}`, in place of the published file']] if given else []),
    ['Data set', f'{flags["dataset"]}{where}, {config["instances"]["count"]} instances'],
    ['Flags', ', '.join(f'{key} {flags[key]}' for key in _SHOWN_FLAGS if key in flags)],
    ['Preset', listed(config['preset'])],
    ['Evaluations', f'{summary["forward"]} forward, of which {summary["backward"]} with gradient'],
    *_speed(summary),
    ['Device', f'{devices["count"]} x {devices["kind"]} ({devices["platform"]})'],
    ['Versions', listed(config['versions'])],
  ]
  return '## Run\n\n' + table(['', ''], [[name, cell(value)] for name, value in lines], left=2)
