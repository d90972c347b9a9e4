"""Users' clicks from a CSV file, in RClicks' columns or in plain ones, matched with instances."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tetris_jax.data import click_owners, click_table
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
  ('device', 'model_type', 'object_stem', 'image_stem'),
)
_EXPECTED = (
  f'{",".join(_PLAIN[0])}[,{",".join(_PLAIN[1])}], or RClicks\' {",".join(_RCLICKS[0])}'
)
_FIRST, _LATER = 'first', ('fn', 'fp', 'subsequent')
_SIGNS = {'true': 1, 'false': 0, 'positive': 1, 'negative': 0}
_RULES = (
  'RClicks numbers an object blue * 65536 + green * 256 + red of its colour in the mask, names of '
  'data sets have red * 65536 + green * 256 + blue, or what else numbers their objects'
)
# Of the numbers that RClicks' rule alone explains: so many may be explained by the other alone.
_FEW = 0.1
# On a picture of so few pixels a side all clicks may lie in [0, 1].
_FEWEST_PIXELS = 3


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
    notes: what a user has to be told of how the file was read, a sentence or two each.
  """

  name: str
  sha256: str
  layout: str
  clicks: Mapping[str, Sequence[UserClick]]
  left_out: Mapping[str, Sequence[int]]
  repeated: int
  notes: Sequence[str] = ()


class Placed(NamedTuple):
  """Clicks of one instance in the pixels of its picture.

  Attributes:
    yx: (num_clicks, 2) float32.
    clamped: (num_clicks,) bool, those that lay outside of the picture and were moved to its border.
  """

  yx: np.ndarray
  clamped: np.ndarray


def _positive(table: click_table.Table, line: int, label: str) -> bool:
  """Whether a click asks for the object; raises DataError for a label that says neither."""
  sign = _SIGNS.get(label.lower(), click_table.to_number(label))
  if sign in (0, 1):
    return sign == 1
  unsaid = '; leave the column out where all are positive' if not label else ''
  raise table.wrong(line, 'label', label, f'1 (positive) or 0 (negative){unsaid}')


def _of_dataset(
  table: click_table.Table, dataset: str | None
) -> tuple[list[tuple[int, dict[str, str]]], dict[str, list[int]]]:
  """The rows on a data set, and the lines of the others by reason."""
  there = sorted({row['dataset'] for _, row in table.rows})
  if dataset is None and len(there) > 1:
    raise DataError(
      f'clicks={table.path} holds clicks on {click_table.some(there)}; say which ones are '
      'meant by clicks_dataset'
    )
  if dataset is not None and dataset not in there:
    # As in tetris for TETRIS.
    alike = [name for name in there if name.lower() == dataset.lower()]
    if len(alike) != 1:
      raise DataError(
        f'clicks={table.path} has no click on {dataset!r}; its column dataset has '
        f'{click_table.some(there)}'
      )
    dataset = alike[0]
  kept: list[tuple[int, dict[str, str]]] = []
  others: dict[str, list[int]] = {}
  for line, row in table.rows:
    if dataset is None or row['dataset'] == dataset:
      kept.append((line, row))
    else:
      others.setdefault(f'on {row["dataset"]}, not {dataset}', []).append(line)
  return kept, others


def _own_numbers(
  table: click_table.Table, found: Sequence[tuple[int, dict[str, str], click_owners.Meant]]
) -> str:
  """What to say of a file whose object numbers count as the data set's own; '' for RClicks'.

  RClicks' rule holds unless numbers have an object by the other rule alone. Few of those beside
  many that go by RClicks' alone are on objects that the data set lacks.

  Raises:
    DataError: neither rule explains the file, or both explain a part of it.
  """
  different = [one for one in found if one[2].published != one[2].own]
  own = [one for one in different if one[2].published is None]
  published = [one for one in different if one[2].published is not None]
  alone = [one for one in published if one[2].own is None]
  if not own or len(own) <= _FEW * len(alone):
    return ''
  line, row, meant = own[0]
  if published:
    other, there, instead = published[0]
    raise DataError(
      f'clicks={table.path}: full_stem {row["full_stem"]!r} in line {line} names an object only as '
      f'this data set counts ({meant.own!r}), and {there["full_stem"]!r} in line {other} names one '
      f'as RClicks does ({instead.published!r}). {_RULES}; write all by RClicks\' rule, or the '
      'columns instance,y,x with names of the data set'
    )
  return (
    'object numbers are read as this data set counts them, such as '
    f'{row["full_stem"]!r} in line {line} as {meant.own!r}, for by RClicks\' rule there is no such '
    f'object. {_RULES}'
  )


class _Read(NamedTuple):
  """What the rows of a file amount to."""

  clicks: list[tuple[str, UserClick]]
  left_out: dict[str, list[int]]
  notes: tuple[str, ...] = ()


def _rclicks(table: click_table.Table, owners: click_owners.Owners, dataset: str | None) -> _Read:
  """Rows in RClicks' columns."""
  rows, left_out = _of_dataset(table, dataset)
  table.decimal_commas(('y', 'x', 'w', 'h'))
  first = []
  for line, row in rows:
    if row['click_type'].lower() in _LATER:
      reason = 'no first click: a later one needs the mask that its user saw'
      left_out.setdefault(reason, []).append(line)
    elif row['click_type'].lower() == _FIRST:
      meant = owners.numbered(row['full_stem'], row.get('object_stem', ''))
      first.append((line, row, meant))
    else:
      expected = f'{_FIRST}, {", ".join(_LATER[:-1])} or {_LATER[-1]}'
      raise table.wrong(line, 'click_type', row['click_type'], expected)
  note = _own_numbers(table, first)
  clicks = []
  sizes: dict[str, tuple[int, int]] = {}
  for line, row, meant in first:
    y, x = table.number(line, row, 'y'), table.number(line, row, 'x')
    size = table.side(line, row, 'h'), table.side(line, row, 'w')
    before = sizes.setdefault(row['full_stem'], size)
    if before != size:
      raise table.wrong(
        line, 'w, h', f'{size[1]} x {size[0]}', f'{before[1]} x {before[0]} as before for this stem'
      )
    instance = meant.own if note else meant.published
    if instance is None:
      left_out.setdefault(meant.reason, []).append(line)
    else:
      clicks.append((instance, UserClick(line, y, x, size, '')))
  return _Read(clicks, left_out, (note,) if note else ())


def _plain(table: click_table.Table, owners: click_owners.Owners) -> _Read:
  """Rows in plain columns."""
  clicks: list[tuple[str, UserClick]] = []
  left_out: dict[str, list[int]] = {}
  clicked: dict[tuple[str, str], int] = {}
  folders: dict[str, int] = {}
  table.decimal_commas(('y', 'x', 'label'))
  for line, row in table.rows:
    written, user = row['instance'], row.get('user', '')
    instance, folder = owners.named(written)
    if instance is None:
      expected = f'a name of the data set{owners.advice(written)}'
      raise table.wrong(line, 'instance', written, expected)
    if folder and folders.setdefault(folder, line) and len(folders) > 1:
      other = next(iter(folders.values()))
      raise table.wrong(
        line, 'instance', written, f'one folder for all; there is another in line {other}'
      )
    y, x = table.number(line, row, 'y'), table.number(line, row, 'x')
    if not _positive(table, line, row.get('label', '1')):
      left_out.setdefault('negative: a first click asks for the object', []).append(line)
      continue
    if user:
      before = clicked.setdefault((instance, user), line)
      if before != line:
        raise table.wrong(
          line, 'user', user, f'one first click of a user on {instance}; there is one in line '
          f'{before}'
        )
    clicks.append((instance, UserClick(line, y, x, None, user)))
  return _Read(clicks, left_out)


def _check_pixels(table: click_table.Table, clicks: Sequence[UserClick]) -> None:
  """Raises DataError where coordinates are shares of a side and no pixels."""
  shown = [click.size for click in clicks if click.size is not None]
  if not clicks or any(min(size) < _FEWEST_PIXELS for size in shown):
    return
  if all(0 <= value <= 1 for click in clicks for value in (click.y, click.x)):
    raise DataError(
      f'clicks={table.path}: y and x of all {len(clicks)} clicks lie in [0, 1], as shares of the '
      "picture's sides do; expected pixels: multiply y by its height and x by its width"
    )


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
  object's number behind seven underscores where the picture has several, counted as
  `Owners.numbered` says; only its clicks of type "first" are read, and clicks on instances that the
  data set lacks are left out, for its file is about several whole data sets. How both are written
  is `Table`'s and, for names, `Owners.named`'s.

  Args:
    clicks: path of the file, CSV in UTF-8.
    names: of all instances of the data set.
    selected: those that are evaluated; default: all. Clicks on the others are left out.
    clicks_dataset: what RClicks' column `dataset` has to say; needed where it says several things,
      and without meaning for plain columns.

  Raises:
    DataError: the file cannot be read, or a column or a cell of it is not as described; the
      message names the line and the column. Or object numbers of RClicks' columns follow two
      rules, or all coordinates lie in [0, 1], which are no pixels.
  """
  known = frozenset(names)
  table = click_table.Table(pathlib.Path(clicks), (_PLAIN, _RCLICKS), known)
  layout = 'rclicks' if 'full_stem' in table.header else 'plain'
  table.require(_RCLICKS if layout == 'rclicks' else _PLAIN, _EXPECTED)
  owners = click_owners.Owners(names)
  if layout == 'rclicks':
    found = _rclicks(table, owners, clicks_dataset)
  else:
    found = _plain(table, owners)
  _check_pixels(table, [click for _, click in found.clicks])
  left_out = found.left_out
  if table.commented:
    left_out['commented out'] = table.commented
  wanted = known if selected is None else frozenset(selected)
  taken: dict[str, list[UserClick]] = {}
  for name, click in found.clicks:
    if name not in wanted:
      left_out.setdefault('on an instance beyond the limit', []).append(click.line)
    else:
      taken.setdefault(name, []).append(click)
  if not taken:
    reasons = '; '.join(
      f'{len(lines)} {reason} (first in line {lines[0]})' for reason, lines in left_out.items()
    )
    raise DataError(f'clicks={clicks} has no first click on any of the instances: {reasons}')
  anonymous = [
    (name, click.y, click.x) for name, some in taken.items() for click in some if not click.user
  ]
  repeated = len(anonymous) - len(set(anonymous))
  return ClickFile(
    table.path.name, table.sha256, layout, taken, left_out, repeated, found.notes
  )


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
