"""Pages that the code itself tells: models, programs with their flags, presets, metrics, names.

Each function makes Markdown of what is imported, so a page cannot be out of step with it.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import pathlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import notebook

__all__ = [
  'MAKERS', 'citation', 'datasets', 'extras', 'kernel', 'metrics', 'models', 'presets', 'program',
  'programs', 'training',
]

_TOP = pathlib.Path(__file__).parents[2]
_FLAG = re.compile(r'(?<![\w`\-])--\w[\w-]*(?:=(?:\'[^\']*\'|[^\s,;)]*[^\s,;).:]))?')


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
  lines = [head, ['---'] * len(head), *rows]
  return '\n'.join(f'| {" | ".join(line)} |' for line in lines) + '\n'


def _columns(table: str, *names: str) -> str:
  """Some columns of a Markdown table, by their names."""
  rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in table.splitlines()]
  kept = [rows[0].index(name) for name in names]
  return _table(names, [[row[at] for at in kept] for row in rows[2:]])


def models() -> str:
  """The tables of `python -m ports.zoo`, cut by columns so that they fit a page."""
  from ports import zoo

  rows, files = zoo.table().strip().split('\n\n')
  parts = [
    '## What there is', _columns(rows, 'model', 'parameters', 'published by'),
    '## Numbers', _columns(rows, 'model', 'figures of others', 'measured with this port'),
    '## Parity with the reference', _columns(rows, 'model', 'parity'),
    '## Files', _columns(files, 'model', 'file', 'bytes', 'licence'),
    '## Where the files come from', _columns(files, 'model', 'from'),
    '## Sums of the files', _columns(files, 'file', 'sha256'),
  ]
  return '\n\n'.join(parts)


def _prose(docstring: str) -> str:
  """A program's docstring as Markdown: flags as code, indented commands as blocks."""
  blocks = []
  for block in inspect.cleandoc(docstring).split('\n\n'):
    if all(line.startswith('  ') for line in block.splitlines()):
      blocks.append('```sh\n' + inspect.cleandoc(block) + '\n```')
      continue
    pieces = re.split(r'(`[^`]*`)', block)
    pieces[::2] = [_FLAG.sub(lambda found: f'`{found[0]}`', piece) for piece in pieces[::2]]
    blocks.append(''.join(pieces))
  return '\n\n'.join(blocks)


def _told(value: Any) -> str:
  """A default as it would be given; nothing where there is none."""
  if value is None or value in ((), []):
    return ''
  if isinstance(value, (list, tuple)):
    return ','.join(map(str, value))
  return str(value).lower() if isinstance(value, bool) else str(value)


def _flags(kind: type, names: Iterable[str]) -> str:
  """Flags as a list of definitions, with what `--help` says of them and their defaults."""
  from absl import flags as absl_flags

  from experiments.lib import flags

  values = absl_flags.FlagValues()
  flags.define(kind, values)
  entries = []
  for name in names:
    flag = values[name]
    told = _told(flag.default)
    default = f' Default: `{told}`.' if told else ''
    text = _FLAG.sub(lambda found: f'`{found[0]}`', flag.help)
    entries.append(f'`--{name}`\n:   {text}{default}\n')
  return '\n'.join(entries)


def _groups(kind: type) -> dict[type, list[str]]:
  """Fields of settings by the class that brings them, the program's own first."""
  found: dict[type, list[str]] = {}
  for field in dataclasses.fields(kind):
    owners = [one for one in kind.__mro__ if field.name in vars(one).get('__annotations__', {})]
    found.setdefault(owners[0], []).append(field.name)
  return dict(sorted(found.items(), key=lambda item: kind.__mro__.index(item[0])))


def _spoken(group: type) -> str:
  return re.sub(r'(?<=[a-z])(?=[A-Z])', ' ', group.__name__)


def _anchor(group: type) -> str:
  # A group may have the name of a program, which is a heading of the same page.
  return f'flags-{_spoken(group).lower().replace(" ", "-")}'


def program(name: str) -> str:
  """One program: what it says of itself, its own flags, and where the shared ones stand."""
  module = importlib.import_module(f'experiments.{name}')
  lines = [f'## {name}', _prose(module.__doc__ or '')]
  shared = []
  for group, fields in _groups(module.Settings).items():
    if group is module.Settings:
      lines += [f'### Flags of {name} alone', _flags(module.Settings, fields)]
    else:
      told = ' '.join(f'`--{field}`' for field in fields)
      shared.append((f'[{_spoken(group)}](#{_anchor(group)})', told))
  if shared:
    lines += ['Shared flags:', _table(('described under', 'flags'), shared)]
  return '\n\n'.join(lines)


def _program_names() -> list[str]:
  """The programs of the command, and then those that only Python starts."""
  from experiments.lib import cli

  others = [
    file.stem
    for file in sorted((_TOP / 'experiments').glob('*.py'))
    if file.stem not in cli.PROGRAMS and file.stem != '__init__' and _has_settings(file)
  ]
  return [*cli.PROGRAMS, *others]


def _has_settings(file: pathlib.Path) -> bool:
  tree = ast.parse(file.read_text('utf-8'))
  return any(isinstance(node, ast.ClassDef) and node.name == 'Settings' for node in tree.body)


def programs() -> str:
  """All programs with their flags; a flag that several of them have is described once."""
  from experiments.lib import cli

  names = _program_names()
  overview = _table(
    ('program', 'what it does', 'as a command'),
    [
      (f'[{name}](#{name})', cli.summary(name),
       f'`tetris-jax {name}`' if name in cli.PROGRAMS else f'`python -m experiments.{name}`')
      for name in names
    ],
  )  # fmt: skip
  groups: dict[type, list[str]] = {}
  holder: dict[type, type] = {}
  for name in names:
    kind = importlib.import_module(f'experiments.{name}').Settings
    for group, fields in _groups(kind).items():
      if group is not kind:
        groups.setdefault(group, fields)
        holder.setdefault(group, kind)
  parts = [overview, *(program(name) for name in names), '## Shared flags']
  for group in sorted(groups, key=_spoken):
    about = (group.__doc__ or '').partition('\n')[0]
    heading = f'### {_spoken(group)} {{ #{_anchor(group)} }}'
    parts += [heading, about, _flags(holder[group], groups[group])]
  return '\n\n'.join(parts)


def presets() -> str:
  """The named attacks with every number that they fix, a table for each kind of search."""
  from tetris_jax import presets

  by_kind: dict[type, dict[str, Any]] = {}
  for name, config in presets.PRESETS.items():
    if config.search is not None:
      settings = presets.describe(config)['search']
      by_kind.setdefault(type(config.search), {})[f'`{name}`'] = settings
  parts = []
  for kind, named in by_kind.items():
    where = f'python/kernel.md#{kind.__module__}.{kind.__qualname__}'
    names = [field.name for field in dataclasses.fields(kind)]
    rows = [(f'`{one}`', *(f'{held[one]}' for held in named.values())) for one in names]
    head = (f'[`{kind.__name__}`]({where})', *named)
    parts.append(_table(head, rows))
  return '\n\n'.join(parts)


def metrics() -> str:
  """The table of metrics."""
  from tetris_jax.scores import table

  rows = []
  for metric in table.METRICS.values():
    title = metric.title.format(quality='q')
    better = metric.direction or 'neither'
    of = {'mode': 'MIN, BASE and MAX', 'range': 'MAX and MIN together', 'click': 'each click'}
    rows.append((title, f'`{metric.name}`', of[metric.kind], metric.curves, better))
  head = ('metric', 'key in `summary.json`', 'of', 'from curves of', 'better')
  return _table(head, rows)


def datasets() -> str:
  """Options of every data set, with their types and defaults."""
  from tetris_jax import data

  rows = []
  for name in data.names():
    given = inspect.signature(data.DATASETS[name]).parameters
    for option, kind in data.options_of(name).items():
      told = _told(given[option].default)
      default = f'`{told}`' if told else ''
      rows.append((f'`{name}`', f'`{option}`', kind.replace('|', 'or'), default))
  return _table(('data set', 'option', 'type', 'default'), rows)


def extras() -> str:
  """The extras of the package and what each installs."""
  import tomllib

  project = tomllib.loads((_TOP / 'pyproject.toml').read_text('utf-8'))['project']
  rows = [
    (f'`{name}`', ' '.join(f'`{re.split("[<>=!~;]", one)[0]}`' for one in brings))
    for name, brings in project['optional-dependencies'].items()
  ]
  return _table(('extra', 'brings'), rows)


def citation() -> str:
  """The file that tools read."""
  return f'```yaml\n{(_TOP / "CITATION.cff").read_text("utf-8")}```\n'


def _source(value: Any) -> str:
  """Where what is public is defined, as a dotted path."""
  if inspect.ismodule(value):
    return value.__name__
  return f'{value.__module__}.{value.__qualname__}'


def kernel() -> str:
  """Every name of `tetris_jax.__all__`, for mkdocstrings; of constants their values."""
  import tetris_jax

  public = {name: getattr(tetris_jax, name) for name in tetris_jax.__all__}
  kinds = {
    'Functions': inspect.isroutine, 'Classes': inspect.isclass, 'Modules': inspect.ismodule
  }  # fmt: skip
  parts = []
  for title, belongs in kinds.items():
    mine = {name: public.pop(name) for name, value in [*public.items()] if belongs(value)}
    parts += [f'## {title}'] * bool(mine)
    parts += [
      f'::: {_source(value)}\n    options:\n      heading: tetris_jax.{name}\n'
      f'      toc_label: {name}'
      for name, value in mine.items()
    ]
  rows = [(f'`tetris_jax.{name}`', f'`{value!r}`') for name, value in public.items()]
  return '\n\n'.join([*parts, '## Constants', _table(('name', 'value'), rows)])


def training() -> str:
  """The example that trains: what its docstring says, and its functions that call the kernel."""
  source = (_TOP / 'examples' / 'robust_training.py').read_text('utf-8')
  tree, lines = ast.parse(source), source.splitlines()
  shown = [
    '\n'.join(lines[min(one.lineno for one in (node, *node.decorator_list)) - 1 : node.end_lineno])
    for node in tree.body
    if isinstance(node, ast.FunctionDef) and node.name in ('clicks_for', 'loss', 'step')
  ]
  code = '\n\n\n'.join(shown)
  return f'{_prose(ast.get_docstring(tree) or "")}\n\n```python\n{code}\n```\n'


MAKERS: dict[str, Callable[[], str]] = {
  maker.__name__: maker
  for maker in (
    citation,
    datasets,
    extras,
    notebook.front,
    kernel,
    metrics,
    models,
    presets,
    programs,
    training,
  )
}
"""By the name that a page's directive says."""
