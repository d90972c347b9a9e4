"""Markdown that stands elsewhere in the repository, as a page of the site holds it.

Nothing here imports mkdocs or the package, so that tests of it are quick.
"""

from __future__ import annotations

import pathlib
import posixpath
import re
from collections.abc import Iterator, Mapping

__all__ = ['DIRECTIVE', 'PAGES', 'TextError', 'included', 'relinked', 'section', 'whole']

DIRECTIVE = re.compile(r'^<!-- (include|make): (\S+)(?: # ?(.*?))? -->$', re.MULTILINE)
"""`<!-- include: FILE -->`, `<!-- include: FILE # Heading -->` for a section of it, `<!-- include:
FILE # -->` for what stands before its first section, and `<!-- make: NAME -->`."""

PAGES = {
  'BUILD.md': 'design.md',
  'CHANGELOG.md': 'changelog.md',
  'CITATION.cff': 'cite.md',
  'CONTRIBUTING.md': 'contributing.md',
  'README.md': 'index.md',
  'examples/first_attack.ipynb': 'first_attack.ipynb',
  'ports/README.md': 'models.md',
}
"""Files of the repository outside docs/, and the pages of the site that show them."""

_LINK = re.compile(r'(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)')
_HEADING = re.compile(r'(#{1,6}) (.+)')


class TextError(Exception):
  """A page names what is not there; the message says the file and what was looked for."""


def _lines(text: str) -> Iterator[tuple[str, int, str]]:
  """Every line with its level and its title where it is a heading, else 0 and nothing."""
  fence = ''
  for line in text.splitlines():
    mark = re.match(r' *(```+|~~~+)', line)
    heading = None if fence or mark else _HEADING.fullmatch(line)
    yield line, len(heading[1]) if heading else 0, heading[2].strip() if heading else ''
    if mark and not fence:
      fence = mark[1]
    elif fence and line.strip() == fence:
      fence = ''


def section(text: str, title: str) -> str:
  """What stands below a heading, or before the first section where the title is empty.

  Headings in it are raised, so that the highest are of level 2; the heading itself is left out.

  Raises:
    TextError: no heading of that title, or two.
  """
  taken: list[str] = []
  found, level = 0, 1 if not title else 0
  for line, depth, name in _lines(text):
    if title and name == title:
      found, level = found + 1, depth
    elif level and depth and (depth <= level or not title):
      if title or depth > 1:
        level = 0
    elif level:
      taken.append('#' * (depth - level + 1) + line[depth:] if depth else line)
  if title and found != 1:
    raise TextError(f'heading {title!r}: expected once, found {found} times')
  return '\n'.join(taken).strip() + '\n'


def whole(text: str, title: str | None) -> str:
  """A file's text, or the section of that title."""
  return text if title is None else section(text, title)


def relinked(text: str, source: str, page: str, top: pathlib.Path) -> str:
  """Links to files of the repository, as links between pages of the site.

  A file that is not in the site is named without a link; pictures are left to mkdocs.

  Args:
    text: of `source`.
    source: path in the repository.
    page: of the site, such as "python/kernel.md".
    top: of the repository.

  Raises:
    TextError: a link to a file that is not there.
  """

  def one(match: re.Match[str]) -> str:
    told, target = match[1], match[2]
    path, mark, anchor = target.partition('#')
    if not path or re.match(r'[a-z]+:', target):
      return match[0]
    file = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    # What lies in docs/ lies in the site likewise; pages link to those brought in as if they did.
    own = file.removeprefix('docs/')
    inside = file != own
    brought = inside and source.startswith('docs/') and own in PAGES.values()
    if not brought and not (top / file).exists():
      raise TextError(f'{source} links to {target}, and {file} does not exist')
    shown = own if brought or (inside and (top / file).is_file()) else PAGES.get(file)
    if shown is None:
      return told
    there = posixpath.relpath(shown, posixpath.dirname(page) or '.')
    return f'[{told}]({there}{mark}{anchor})'

  parts = re.split(r'(^ *```.*?^ *```$)', text, flags=re.MULTILINE | re.DOTALL)
  return ''.join(part if at % 2 else _LINK.sub(one, part) for at, part in enumerate(parts))


def included(
  text: str, page: str, top: pathlib.Path, makers: Mapping[str, object]
) -> str:
  """A page with its directives carried out, and its links to files of the repository replaced.

  Args:
    text: of the page.
    page: its path in the site.
    top: of the repository.
    makers: by name, functions without arguments that make Markdown.

  Raises:
    TextError: what a directive names, or where a link leads, is not there.
  """

  def one(match: re.Match[str]) -> str:
    kind, name, title = match.groups()
    if kind == 'make':
      make = makers.get(name)
      if not callable(make):
        raise TextError(f'{page}: nothing makes {name!r}; known: {", ".join(makers)}')
      return str(make())
    file = top / name
    if not file.is_file():
      raise TextError(f'{page} includes {name}, which does not exist')
    try:
      taken = whole(file.read_text('utf-8'), title)
    except TextError as error:
      raise TextError(f'{page} includes a part of {name}: {error}') from error
    return relinked(taken, name, page, top)

  return DIRECTIVE.sub(one, relinked(text, f'docs/{page}', page, top))
