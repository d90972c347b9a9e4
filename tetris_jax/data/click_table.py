"""A table of text as people save it: separator, header and comments found out, lines remembered."""

from __future__ import annotations

import collections
import csv
import hashlib
import math
import pathlib
import re
from collections.abc import Collection, Mapping, Sequence

from tetris_jax import regular
from tetris_jax.data.dataset import DataError

__all__ = ['Columns', 'Table', 'some', 'to_number']

Columns = tuple[Sequence[str], Sequence[str]]
"""Columns that a table must have, and others that it may have; in lower case."""

_SEPARATORS = (',', ';', '\t', '|')
# Excel's line that says which separator follows; other programs take it for the header.
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
_COMMENT = '#'
_THOUSANDS = re.compile(r'-?[1-9][0-9]{0,2},[0-9]{3}')
# What pandas calls the index of a table that it has saved and read again.
_INDEX = re.compile(r'unnamed: \d+')
_NO_TEXT = {
  b'PK\x03\x04': 'a ZIP archive, as Excel workbooks are',
  b'\xd0\xcf\x11\xe0': 'an Excel workbook',
  b'\x1f\x8b': 'compressed',
  b'PAR1': 'Parquet',
}
# Of a column's name, of a cell, and how many columns.
_LONGEST_SHOWN, _LONGEST_CELL, _MOST_SHOWN = 60, 200, 12
# In characters. Millions of columns would take ten times the memory of their line.
_LONGEST_LINE = 1_000_000
# Half a gigabyte of clicks; and of lines, be they empty.
_MOST_CLICKS, _MOST_LINES = 750_000, 2_000_000
_LINE = re.compile(r'[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+')


def to_number(cell: str) -> float:
  """NaN where the cell is no number."""
  # Python reads 1_0 as 10; in a file of clicks it is a slip.
  if '_' in cell:
    return math.nan
  try:
    return float(cell)
  except ValueError:
    return math.nan


class Table:
  """Rows of a CSV file with errors that name file, line and column.

  Columns are separated by commas, or else by semicolons, tabs or bars; between the latter a decimal
  comma is a decimal point. Column names count in lower case. Lines that begin with # before the
  header are passed over, and so is Excel's `sep=;`. Columns without name and content, which
  trailing separators make, and an index as pandas writes it are left out.

  Attributes:
    path: of the file.
    sha256: of its bytes.
    header: names of the columns.
    rows: (line from 1, cells by column).
    commented: lines after the header that begin with #, unless with a name.
  """

  def __init__(self, path: pathlib.Path, layouts: Sequence[Columns], names: Collection[str]):
    """Reads a table.

    Args:
      path: of the file.
      layouts: the columns that it may have.
      names: what a row may begin with, though it be a #.

    Raises:
      DataError: it cannot be read, is no text, or its lines are no rows of a table.
    """
    self.path = path
    try:
      data = regular.read(path)
    except OSError as error:
      raise DataError(f'clicks={path} cannot be read: {error.strerror or error}') from error
    self.sha256 = hashlib.sha256(data).hexdigest()
    self.commented: list[int] = []
    if data.count(b'\n') + data.count(b'\r') > 2 * _MOST_LINES:  # An end may be both.
      raise DataError(
        f'clicks={path} has more than {_MOST_LINES:,} lines; split it by data set'
      )
    text = self._text(data)
    del data
    self._lines = _LINE.findall(text)
    for number, line in enumerate(self._lines):
      if len(line) > _LONGEST_LINE:
        raise DataError(
          f'clicks={path}, line {number + 1} has {len(line):,} characters; a line holds one click'
        )
    self._needed = [set(needed) for needed, _ in layouts]
    self._start, self._separator = self._begin()
    self.header, found = self._parse(names)
    self.rows = self._named(found)

  def _text(self, data: bytes) -> str:
    for magic, kind in _NO_TEXT.items():
      if data.startswith(magic):
        raise DataError(f'clicks={self.path} is {kind}, and no text; save it as CSV in UTF-8')
    if data[:2] in (b'\xff\xfe', b'\xfe\xff'):
      raise DataError(f'clicks={self.path} is UTF-16; save it as UTF-8')
    try:
      text = data.decode('utf-8-sig')
    except UnicodeDecodeError as error:
      line = data.count(b'\n', 0, error.start) + 1
      raise DataError(
        f'clicks={self.path}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8; save the '
        'file as UTF-8'
      ) from error
    if '\0' in text:
      raise DataError(f'clicks={self.path} holds NUL characters and is no text; expected CSV')
    if text.lstrip()[:1] in ('{', '[', '<'):
      raise DataError(f'clicks={self.path} is JSON or XML; expected CSV, a click a line')
    return text

  def _begin(self) -> tuple[int, str]:
    """(Lines before the header, separator)."""
    said = ''
    for number, line in enumerate(self._lines):
      stripped = line.strip()
      if not stripped or stripped.startswith(_COMMENT):
        continue
      if match := _SEPARATOR_LINE.fullmatch(line.strip('\r\n')):
        said = match[1]
        continue
      if said:
        return number, said
      for separator in _SEPARATORS:
        try:
          cells = next(csv.reader([line], delimiter=separator), [])
        except csv.Error as error:
          raise DataError(f'clicks={self.path}, line {number + 1}: {error}') from error
        header = [_column(cell) for cell in cells]
        if any(columns <= set(header) for columns in self._needed):
          return number, separator
      return number, ','
    raise DataError(f'clicks={self.path} is empty; expected a header and a click a line')

  def _parse(self, names: Collection[str]) -> tuple[list[str], list[tuple[int, list[str]]]]:
    start, separator = self._start, self._separator
    reader = csv.reader(
      self._lines[start:], delimiter=separator, skipinitialspace=True, strict=True
    )
    header: list[str] = []
    rows: list[tuple[int, list[str]]] = []
    try:
      for cells in reader:
        line = start + reader.line_num
        cells = [cell.strip() for cell in cells]
        if not any(cells):
          continue
        if not header:
          header = [_column(cell) for cell in cells]
          if not any(columns <= set(header) for columns in self._needed):
            break  # How many cells its rows have says nothing; `require` says what it lacks.
        elif cells[0].startswith(_COMMENT) and cells[0] not in names:
          self.commented.append(line)
        elif len(rows) == _MOST_CLICKS:
          raise DataError(
            f'clicks={self.path} has more than {_MOST_CLICKS:,} clicks; split it by data set'
          )
        else:
          rows.append((line, self._fitted(line, cells, len(header))))
    except csv.Error as error:
      line = start + reader.line_num
      raise DataError(f'clicks={self.path}, line {line}: {error}') from error
    return header, rows

  def _fitted(self, line: int, cells: list[str], count: int) -> list[str]:
    """A row of as many cells as the header has; raises DataError where it has others."""
    if len(cells) > count and not any(cells[count:]):
      cells = cells[:count]
    if len(cells) == count:
      return cells
    hint = ''
    if len(cells) > count and self._separator == ',':
      hint = '; decimals are written with a point, and numbers of rows have a column of their own'
    raise DataError(
      f'clicks={self.path}, line {line}: {len(cells)} fields, the header has {count}{hint}'
    )

  def _named(self, found: Sequence[tuple[int, list[str]]]) -> list[tuple[int, dict[str, str]]]:
    """Rows by column, without columns that hold nothing or count lines."""
    empty = {
      at
      for at, column in enumerate(self.header)
      if (not column and (at == 0 or not any(cells[at] for _, cells in found)))
      or (at == 0 and _INDEX.fullmatch(column))
    }
    kept = [at for at in range(len(self.header)) if at not in empty]
    self.header = [self.header[at] for at in kept]
    return [
      (line, {self.header[k]: cells[at] for k, at in enumerate(kept)}) for line, cells in found
    ]

  def require(self, columns: Columns, expected: str) -> None:
    """Raises DataError where a column is missing, there twice, or of unknown meaning.

    Args:
      columns: of the layout that it has.
      expected: what to say of the right ones.
    """
    needed, optional = columns
    missing = [column for column in needed if column not in self.header]
    unknown = [column for column in self.header if column not in (*needed, *optional)]
    counts = collections.Counter(self.header)
    twice = sorted(column for column, count in counts.items() if count > 1)
    if missing or unknown or twice:
      parts = [
        f'{what} {some(columns)}'
        for what, columns in (('lacks', missing), ('unknown', unknown), ('twice', twice))
        if columns
      ]
      advice = '; take out what is no part of a click' if unknown and not missing else ''
      raise DataError(
        f'clicks={self.path}, line {self._start + 1}: columns: {"; ".join(parts)}. Expected '
        f'{expected}, separated by commas{advice}'
      )
    if not self.rows:
      raise DataError(f'clicks={self.path} has a header and no click')

  def wrong(self, line: int, column: str, found: str, expected: str) -> DataError:
    """What to raise for a cell."""
    shown = repr(found if len(found) <= _LONGEST_CELL else f'{found[:_LONGEST_CELL]}...')
    return DataError(
      f'clicks={self.path}, line {line}, column {column}: found {shown}, expected {expected}'
    )

  def decimal_commas(self, columns: Sequence[str]) -> None:
    """Replaces decimal commas by points, where commas separate no columns.

    Raises:
      DataError: points are there as well, so that one of them separates thousands; or all commas
        have three digits behind them and other places have none, as where they separate thousands.

    Args:
      columns: with numbers.
    """
    if self._separator == ',':
      return
    commas: list[tuple[int, str, str]] = []
    points: list[int] = []
    whole = False
    for line, row in self.rows:
      for column in columns:
        cell = row.get(column, '')
        if ',' in cell:
          commas.append((line, column, cell))
          row[column] = cell.replace(',', '.')
        elif '.' in cell:
          points.append(line)
        else:
          whole |= bool(cell) and column in ('y', 'x')
    mixed = next((one for one in commas if points or '.' in one[2]), None)
    if mixed:
      line, column, cell = mixed
      others = f', but points in line {points[0]}' if points else ''
      raise self.wrong(line, column, cell, f'decimal points alone; it has a comma{others}')
    if commas and whole and all(_THOUSANDS.fullmatch(cell) for _, _, cell in commas):
      # A thousand and more have a comma and three digits behind it, what is less has none.
      line, column, cell = commas[0]
      raise self.wrong(line, column, cell, 'no comma between thousands; a decimal comma may stay')

  def number(self, line: int, row: Mapping[str, str], column: str) -> float:
    """A finite number of a cell."""
    value = to_number(row[column])
    if not math.isfinite(value):
      point = ' with a decimal point' if ',' in row[column] else ''
      raise self.wrong(line, column, row[column], f'a finite number of pixels{point}')
    return value

  def side(self, line: int, row: Mapping[str, str], column: str) -> int:
    """A whole number of pixels, at least 1."""
    value = self.number(line, row, column)
    if value != int(value) or value < 1:
      raise self.wrong(line, column, row[column], 'a whole number of pixels, at least 1')
    return int(value)


def some(names: Sequence[str]) -> str:
  """The first of some names, as a message shows them."""
  shown = ', '.join(repr(name[:_LONGEST_SHOWN]) for name in names[:_MOST_SHOWN])
  more = len(names) - _MOST_SHOWN
  return f'{shown} and {more} more' if more > 0 else shown


def _column(cell: str) -> str:
  """A column's name as it is looked up."""
  return cell.strip().lower()
