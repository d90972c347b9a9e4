"""Users' clicks from a CSV file, in RClicks' columns or in plain ones, matched with instances."""

from __future__ import annotations

import csv
import dataclasses
import difflib
import hashlib
import io
import math
import os
import pathlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tetris_jax.data.dataset import DataError

__all__ = ['RCLICKS_NAMES', 'ClickFile', 'Placed', 'UserClick', 'place', 'read_clicks']

RCLICKS_NAMES = {
  'berkeley': 'Berkeley',
  'coco_mval': 'COCO',
  'davis': 'DAVIS',
  'grabcut': 'GrabCut',
  'tetris': 'TETRIS',
}
"""How RClicks' column `dataset` names the data sets."""

_PLAIN = (('instance', 'y', 'x'), ('user', 'label'))
_RCLICKS = (
  ('dataset', 'full_stem', 'click_type', 'x', 'y', 'w', 'h'),
  # An index without a name is what pandas writes.
  ('device', 'model_type', 'object_stem', 'image_stem', ''),
)
_OBJECT_MARK = '_______'
_FIRST, _LATER = 'first', ('fn', 'fp', 'subsequent')
_SHOWN = 3


class UserClick(NamedTuple):
  """A first click on an object, which is positive.

  Attributes:
    line: of the file, from 1.
    y: rows down, in pixels, pixel centres at whole numbers.
    x: columns to the right, likewise.
    size: (height, width) of the picture that was clicked on, or None where the file does not say.
    user: who clicked, "" where the file does not say.
  """

  line: int
  y: float
  x: float
  size: tuple[int, int] | None
  user: str


@dataclasses.dataclass(frozen=True)
class ClickFile:
  """First clicks of users on the instances of a data set.

  Attributes:
    name: of the file.
    sha256: of its bytes.
    layout: "rclicks" or "plain".
    clicks: by instance, in the file's order.
    left_out: lines of clicks that are not evaluated, by reason.
    repeated: clicks that equal an earlier one of the same instance in place and have no user's
      name; they may be of two users and are kept.
  """

  name: str
  sha256: str
  layout: str
  clicks: Mapping[str, Sequence[UserClick]]
  left_out: Mapping[str, Sequence[int]]
  repeated: int


class Placed(NamedTuple):
  """Clicks of one instance in the pixels of its picture.

  Attributes:
    yx: (num_clicks, 2) float32.
    clamped: (num_clicks,) bool, those that lay outside of the picture and were moved to its border.
  """

  yx: np.ndarray
  clamped: np.ndarray


def _number(cell: str) -> float:
  """NaN where the cell is no number."""
  # Python reads 1_0 as 10; in a file of clicks it is a slip.
  if '_' in cell:
    return math.nan
  try:
    return float(cell)
  except ValueError:
    return math.nan


class _Reader:
  """Lines of a file with errors that name file, line and column."""

  def __init__(self, path: pathlib.Path):
    self.path = path
    try:
      data = path.read_bytes()
    except OSError as error:
      raise DataError(f'clicks={path} cannot be read: {error.strerror or error}') from error
    self.sha256 = hashlib.sha256(data).hexdigest()
    self.header, self.rows = self._parse(self._text(data))

  def _text(self, data: bytes) -> str:
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
    return text

  def _parse(self, text: str) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    reader = csv.reader(io.StringIO(text, newline=''), strict=True)
    rows: list[tuple[int, dict[str, str]]] = []
    header: list[str] = []
    try:
      for cells in reader:
        if not any(cell.strip() for cell in cells):
          continue
        if not header:
          header = [cell.strip() for cell in cells]
          continue
        if len(cells) != len(header):
          raise DataError(
            f'clicks={self.path}, line {reader.line_num}: {len(cells)} fields, the header has '
            f'{len(header)}'
          )
        stripped = (cell.strip() for cell in cells)
        rows.append((reader.line_num, dict(zip(header, stripped, strict=True))))
    except csv.Error as error:
      raise DataError(f'clicks={self.path}, line {reader.line_num}: {error}') from error
    if not header:
      raise DataError(f'clicks={self.path} is empty; expected a header and a click a line')
    return header, rows

  def layout(self) -> str:
    """ "rclicks" or "plain"; raises DataError for other columns."""
    name = 'rclicks' if 'full_stem' in self.header else 'plain'
    needed, optional = _RCLICKS if name == 'rclicks' else _PLAIN
    missing = [column for column in needed if column not in self.header]
    unknown = [column for column in self.header if column not in (*needed, *optional)]
    twice = sorted({column for column in self.header if self.header.count(column) > 1})
    if missing or unknown or twice:
      parts = [
        f'{what} {", ".join(map(repr, columns))}'
        for what, columns in (('lacks', missing), ('unknown', unknown), ('twice', twice))
        if columns
      ]
      raise DataError(
        f'clicks={self.path}, line 1: columns: {"; ".join(parts)}. Expected '
        f'{",".join(_PLAIN[0])}[,{",".join(_PLAIN[1])}], or RClicks\' {",".join(_RCLICKS[0])}, '
        'separated by commas'
      )
    if not self.rows:
      raise DataError(f'clicks={self.path} has a header and no click')
    return name

  def wrong(self, line: int, column: str, found: str, expected: str) -> DataError:
    """What to raise for a cell."""
    return DataError(
      f'clicks={self.path}, line {line}, column {column}: found {found!r}, expected {expected}'
    )

  def number(self, line: int, row: Mapping[str, str], column: str) -> float:
    """A finite number of a cell."""
    value = _number(row[column])
    if not math.isfinite(value):
      raise self.wrong(line, column, row[column], 'a finite number of pixels')
    return value

  def side(self, line: int, row: Mapping[str, str], column: str) -> int:
    """A whole number of pixels, at least 1."""
    value = self.number(line, row, column)
    if value != int(value) or value < 1:
      raise self.wrong(line, column, row[column], 'a whole number of pixels, at least 1')
    return int(value)


def _owners(names: Sequence[str]) -> dict[str, str]:
  """stem -> stem#number, of pictures with one object."""
  found: dict[str, list[str]] = {}
  for name in names:
    stem, mark, _ = name.rpartition('#')
    if mark:
      found.setdefault(stem, []).append(name)
  return {stem: objects[0] for stem, objects in found.items() if len(objects) == 1}


def _instance(
  row: Mapping[str, str], names: Collection[str], owners: Mapping[str, str]
) -> str | None:
  """The instance that a row of RClicks is about, or None."""
  full = row['full_stem']
  stem, mark, number = full.rpartition(_OBJECT_MARK)
  candidates = [f'{stem}#{number}', full] if mark else [full]
  if row.get('object_stem'):
    candidates.append(f'{full}#{row["object_stem"]}')
  return next((name for name in candidates if name in names), owners.get(full))


def _rclicks(
  reader: _Reader, names: Collection[str], owners: Mapping[str, str], dataset: str | None
) -> Iterator[tuple[UserClick | None, str, int]]:
  """(click, its instance, line), or (None, why it is left out, line)."""
  there = {row['dataset'] for _, row in reader.rows}
  if dataset is None and len(there) > 1:
    raise DataError(
      f'clicks={reader.path} holds clicks on {", ".join(sorted(there))}; say which ones are '
      'meant by clicks_dataset'
    )
  if dataset is not None and dataset not in there:
    raise DataError(
      f'clicks={reader.path} has no click on {dataset!r}; its column dataset has '
      f'{", ".join(sorted(there))}'
    )
  sizes: dict[str, tuple[int, int]] = {}
  for line, row in reader.rows:
    if dataset is not None and row['dataset'] != dataset:
      yield None, f'on {row["dataset"]}, not {dataset}', line
      continue
    if row['click_type'] in _LATER:
      yield None, 'no first click: a later one needs the mask that its user saw', line
      continue
    if row['click_type'] != _FIRST:
      expected = f'{_FIRST}, {", ".join(_LATER[:-1])} or {_LATER[-1]}'
      raise reader.wrong(line, 'click_type', row['click_type'], expected)
    y, x = reader.number(line, row, 'y'), reader.number(line, row, 'x')
    size = reader.side(line, row, 'h'), reader.side(line, row, 'w')
    if sizes.setdefault(row['full_stem'], size) != size:
      first = sizes[row['full_stem']]
      raise reader.wrong(
        line, 'w, h', f'{size[1]} x {size[0]}', f'{first[1]} x {first[0]} as before for this stem'
      )
    instance = _instance(row, names, owners)
    if instance is None:
      yield None, 'on an instance that the data set does not have', line
    else:
      yield UserClick(line, y, x, size, ''), instance, line


def _plain(
  reader: _Reader, names: Collection[str]
) -> Iterator[tuple[UserClick | None, str, int]]:
  """Likewise, of plain columns."""
  clicked: dict[tuple[str, str], int] = {}
  for line, row in reader.rows:
    instance, user = row['instance'], row.get('user', '')
    if instance not in names:
      close = difflib.get_close_matches(instance, list(names), 1)
      like = f', such as {close[0]!r}' if close else ''
      raise reader.wrong(line, 'instance', instance, f'a name of the data set{like}')
    y, x = reader.number(line, row, 'y'), reader.number(line, row, 'x')
    label = row.get('label', '1')
    sign = _number(label)
    if sign not in (0, 1):
      raise reader.wrong(line, 'label', label, '1 (positive) or 0 (negative)')
    if sign == 0:
      yield None, 'negative: a first click asks for the object', line
      continue
    if user:
      before = clicked.setdefault((instance, user), line)
      if before != line:
        raise reader.wrong(
          line, 'user', user, f'one first click of a user on {instance}; there is one in line '
          f'{before}'
        )
    yield UserClick(line, y, x, None, user), instance, line


def read_clicks(
  clicks: str | os.PathLike[str],
  names: Sequence[str],
  *,
  selected: Collection[str] | None = None,
  clicks_dataset: str | None = None,
) -> ClickFile:
  """Reads first clicks of users; every line ends as a click or among those left out.

  Plain columns are instance, y, x and, if so wished, user and label (1, or 0 for a negative click,
  which no first click is). RClicks' (arXiv 2410.11722) name an instance by `full_stem`, with the
  object's number behind seven underscores where the picture has several; only its clicks of type
  "first" are read, and clicks on instances that the data set lacks are left out, for its file is
  about several whole data sets.

  Args:
    clicks: path of the file, CSV in UTF-8.
    names: of all instances of the data set.
    selected: those that are evaluated; default: all. Clicks on the others are left out.
    clicks_dataset: what RClicks' column `dataset` has to say; needed where it says several things,
      and without meaning for plain columns.

  Raises:
    DataError: the file cannot be read, or a column or a cell of it is not as described; the
      message names the line and the column.
  """
  reader = _Reader(pathlib.Path(clicks))
  layout = reader.layout()
  known = frozenset(names)
  wanted = known if selected is None else frozenset(selected)
  if layout == 'rclicks':
    found = _rclicks(reader, known, _owners(names), clicks_dataset)
  else:
    found = _plain(reader, known)
  taken: dict[str, list[UserClick]] = {}
  left_out: dict[str, list[int]] = {}
  for click, name, line in found:
    if click is None:
      left_out.setdefault(name, []).append(line)
    elif name not in wanted:
      left_out.setdefault('on an instance beyond the limit', []).append(line)
    else:
      taken.setdefault(name, []).append(click)
  if not taken:
    reasons = '; '.join(f'{len(lines)} {reason}' for reason, lines in left_out.items())
    raise DataError(f'clicks={clicks} has no first click on any of the instances: {reasons}')
  anonymous = [
    (name, click.y, click.x) for name, some in taken.items() for click in some if not click.user
  ]
  repeated = len(anonymous) - len(set(anonymous))
  return ClickFile(reader.path.name, reader.sha256, layout, taken, left_out, repeated)


def place(clicks: Sequence[UserClick], size: tuple[int, int]) -> Placed:
  """Clicks in the pixels of their instance's picture.

  As in RClicks (arXiv 2410.11722): a click outside of the picture is moved to its border, and one
  made on a larger or smaller version of the picture is scaled and rounded down.

  Args:
    clicks: of one instance.
    size: (height, width) of its picture.

  Raises:
    ValueError: the picture that was clicked on has other proportions, or all clicks lie outside.
  """
  yx = np.array([[click.y, click.x] for click in clicks], np.float64)
  shown = clicks[0].size or size
  last = np.array(shown) - 1
  # Half a pixel beyond the last centre is still the picture.
  clamped = np.any((yx < -0.5) | (yx > last + 0.5), axis=1)
  if clamped.all():
    y, x = yx[0]
    raise ValueError(
      f'all {len(yx)} clicks lie outside of its {shown[0]} x {shown[1]} pixels, such as y {y:g}, '
      f'x {x:g} in line {clicks[0].line}; were y and x exchanged?'
    )
  yx = np.clip(yx, 0, last)
  if shown != size:
    (height, width), (rows, columns) = shown, size
    off = min(abs(columns - width * rows / height), abs(rows - height * columns / width))
    if off > 1:
      raise ValueError(
        f'it was clicked on as {height} x {width} pixels and has {rows} x {columns} here, which '
        'are other proportions'
      )
    yx = np.floor(yx * np.array(size) / np.array(shown))
  return Placed(yx.astype(np.float32), clamped)
