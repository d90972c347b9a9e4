"""What lies in a work folder: the keys and types of every row, and a check of rows that are read.

The types are the documentation and the check at once: `check_row` walks through them, so a key that
is added here is asked of every file from then on. A change of them is another `SCHEMA`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypedDict

from tetris_jax.runs import crowds, lengths, ranges, typed

__all__ = [
  'SCHEMA',
  'STATUSES',
  'AttackRow',
  'Clicks',
  'Curves',
  'Facts',
  'FirstClicks',
  'Found',
  'Kind',
  'Level',
  'MapRow',
  'Origin',
  'Robot',
  'Row',
  'RowError',
  'Stamp',
  'UsersRow',
  'Walk',
  'check_row',
  'empty_row',
]

SCHEMA = 2
"""The layout of work folders, which `config.json` carries; folders without a number are of 1."""

STATUSES = ('ok', 'failed', 'skipped')
"""How an instance ends: measured; not, though it should have been; nothing to measure."""

Kind = Literal['attack', 'users', 'heatmap']
"""The programs of experiments that leave rows."""


class RowError(ValueError):
  """A row that is not as its type says; the message names the instance and the field."""


class Stamp(TypedDict):
  """A file as it was when an instance was read.

  Attributes:
    name: of the file, without its folder.
    size: in bytes; None where there is no such file.
    mtime_ns: when it was changed last; likewise.
    sha256: of its content; None where that cannot be read.
  """

  name: str
  size: int | None
  mtime_ns: int | None
  sha256: str | None


class Origin(TypedDict):
  """What a row was made of; while all of it is as it was, the row is.

  Attributes:
    canvas: [height, width] in pixels, on which the instance was measured.
    files: that its pixels depend on.
    content: what else it depends on, a text that changes with it.
  """

  canvas: list[int]
  files: list[Stamp]
  content: str


class Facts(TypedDict, total=False):
  """What a shard remembers of its batch beside the rows, all tries together.

  Attributes:
    seconds: on the device, compiling aside.
    compile_seconds: that the batch's first call of a program took.
    programs: how many were compiled.
    evaluations: of the decoder.
    made_of: of each row, in their order.
  """

  seconds: float
  compile_seconds: float
  programs: int
  evaluations: int
  made_of: list[Origin]


class Curves(TypedDict):
  """IoU or boundary IoU after each click; None for a mode that was not run."""

  min: list[float] | None
  base: list[float]
  max: list[float] | None


class Clicks(TypedDict):
  """[y, x, label] of each click, in image pixels; None for a mode that was not run."""

  min: list[list[float]] | None
  base: list[list[float]]
  max: list[list[float]] | None


class Level(TypedDict):
  """The lowest and highest IoU of clicks deeper than a share of the largest inner distance.

  Attributes:
    depth: the share.
    n: positions that were tried there.
    min: IoU; None where too few were tried.
    max: likewise.
  """

  depth: float
  n: int
  min: float | None
  max: float | None


class _Named(TypedDict):
  """What every row begins with.

  Attributes:
    instance: its name.
    status: one of `STATUSES`.
    reason: why there are no numbers; '' where there are.
    size: [height, width] in pixels; None where unknown.
  """

  instance: str
  status: Literal['ok', 'failed', 'skipped']
  reason: str
  size: list[int] | None


class _Attacked(_Named):
  iou: Curves | None
  biou: Curves | None
  clicks: Clicks | None
  forward: int | None
  backward: int | None


class AttackRow(_Attacked, total=False):
  """One instance of experiments.attack.

  Attributes:
    iou: of each mode.
    biou: likewise, boundary IoU.
    clicks: likewise.
    forward: decoder evaluations.
    backward: gradients among them.
    warnings: of `tetris_jax.scores.checks`, then of the sample; in every row with numbers.
    levels: of the first click, by depth; these and what follows after a global search only.
    quantiles: likewise, by prior and name of the quantile; None where nothing is known.
    hidden: likewise, the range that the search may have left; None where nothing is known.
    users: who clicked beside the attack; there only where somebody did.
  """

  warnings: list[str]
  levels: list[Level]
  quantiles: dict[str, dict[str, float]] | None
  hidden: float | None
  users: crowds.Crowd


class Robot(TypedDict):
  """The robot user's first click, and its scores."""

  yx: list[float]
  iou: float
  biou: float


class _Clicked(TypedDict):
  yx: list[list[float]]
  iou: list[float]
  biou: list[float]
  on_object: list[bool]
  clamped: list[bool]


class FirstClicks(_Clicked, total=False):
  """First clicks of one source, one entry a click.

  Attributes:
    yx: [y, x] in image pixels.
    iou: after it.
    biou: likewise, boundary IoU.
    on_object: whether it lies on the object.
    clamped: whether it lay outside of the image and was moved in.
    line: of the file that it comes from; this and `user` for clicks of a file only.
    user: who made it.
  """

  line: list[int]
  user: list[str]


class Walk(TypedDict):
  """One user's trajectory: scores after each click, and [y, x, label] of the clicks."""

  iou: list[float]
  biou: list[float]
  clicks: list[list[float]]


class _Walked(_Named):
  robot: Robot | None
  users: dict[str, FirstClicks] | None
  trajectories: dict[str, Walk] | None
  forward: int | None
  backward: int | None


class UsersRow(_Walked, total=False):
  """One instance of experiments.users.

  Attributes:
    robot: the robot user's first click.
    users: first clicks by source.
    trajectories: by user.
    forward: decoder evaluations.
    backward: gradients, none.
    warnings: of the sample; there only where it has some.
  """

  warnings: list[str]


class Found(TypedDict):
  """What one preset found of a map's range with its first click.

  Attributes:
    min: lowest IoU.
    max: highest IoU.
    forward: decoder evaluations.
    backward: gradients among them.
    share_of_range: None where there is hardly a range.
    hidden: the range that the search may have left; None where nothing is known.
  """

  min: float
  max: float
  forward: int
  backward: int
  share_of_range: float | None
  hidden: float | None


class MapRow(_Named, total=False):
  """One instance of experiments.heatmap; without numbers it has no more than every row begins with.

  Attributes:
    stride: of the lattice, in pixels.
    positions: that were evaluated.
    legal_pixels: in the region.
    left_out: why the map enters no mean; None where it does.
    min: lowest IoU of any position.
    base: the robot user's.
    max: highest.
    presets: what each of them found, by name.
    levels: by depth.
    quantiles: by prior and name of the quantile.
    map: the file of its arrays.
    picture: the file of its picture; None where it was not drawn.
    warnings: of the sample; there only where it has some.
  """

  stride: int
  positions: int
  legal_pixels: int
  left_out: str | None
  min: float
  base: float
  max: float
  presets: dict[str, Found]
  levels: list[Level]
  quantiles: dict[str, dict[str, float]] | None
  map: str
  picture: str | None
  warnings: list[str]


Row = AttackRow | UsersRow | MapRow

_TYPES: dict[str, Any] = {'attack': AttackRow, 'users': UsersRow, 'heatmap': MapRow}
_NAMED = frozenset(_Named.__annotations__)
# What only a global search adds to a row with numbers.
_OF_A_SEARCH = frozenset(('levels', 'quantiles', 'hidden'))
# What rows with numbers of a kind have only where there is any of it.
_AT_TIMES = {'attack': ('users',), 'users': ('warnings',), 'heatmap': ('warnings',)}
# What may be null in a row with numbers.
_NULLABLE = frozenset(('left_out', 'picture', 'quantiles', 'hidden'))


def empty_row(
  kind: Kind, instance: str, status: str, reason: str, size: tuple[int, int] | None
) -> dict[str, Any]:
  """The row of an instance without numbers.

  Args:
    kind: of the run's rows.
    instance: its name.
    status: "failed" or "skipped".
    reason: what was found, one sentence.
    size: (height, width) in pixels, or None where unknown.

  Raises:
    ValueError: another status, or no reason.
  """
  if status not in ('failed', 'skipped') or not reason:
    raise ValueError(f'{instance}: a row without numbers needs failed or skipped and a reason')
  sides = None if size is None else [int(side) for side in size]
  named = {'instance': instance, 'status': status, 'reason': reason, 'size': sides}
  # Keys that a row must have stand there without numbers too.
  others = [key for key in typed.keys(_TYPES[kind]) if key in typed.required(_TYPES[kind]) - _NAMED]
  return {**named, **dict.fromkeys(others)}


def check_row(row: Any, kind: Kind) -> None:
  """Checks a row that was read: keys and types of its kind, curves of one length, possible numbers.

  Args:
    row: what a line of JSON held.
    kind: of the run's rows.

  Raises:
    RowError: it has not; the message names the instance, where it has a name, and the field.
  """
  named = isinstance(row, Mapping) and isinstance(row.get('instance'), str)
  where = f'instance {typed.shown(row["instance"])}' if named else 'no instance'
  for complaint in _complaints(row, kind):
    raise RowError(f'{where}: {complaint}')


def _complaints(row: Any, kind: Kind) -> Iterator[str]:
  """What is wrong with a row; what follows holds only where nothing came before."""
  yield from typed.mismatches(row, _TYPES[kind])
  size = row['size']
  if size is not None and (len(size) != 2 or min(size) < 1):
    yield f'size is {typed.shown(size)}, expected a height and a width'
  numbers = {key: value for key, value in row.items() if key not in _NAMED}
  if row['status'] == 'ok':
    yield from _of_numbers(row, numbers, kind)
    yield from lengths.uneven(row, kind)
    yield from ranges.impossible(row, kind)
    return
  if not row['reason']:
    yield f'reason is empty, but status is {row["status"]}'
  for key, value in numbers.items():
    if value is not None:
      yield f'{key} is there, but status is {row["status"]}'
  yield from ranges.impossible(row, kind)


def _of_numbers(
  row: Mapping[str, Any], numbers: Mapping[str, Any], kind: Kind
) -> Iterator[str]:
  """What of a row with numbers is absent, or is there and should not be."""
  if row['reason']:
    yield f'reason is {typed.shown(row["reason"])}, but status is ok'
  if row['size'] is None:
    yield 'size is null, but status is ok'
  optional = _OF_A_SEARCH if kind == 'attack' else frozenset()
  for key in typed.keys(_TYPES[kind]):
    if key in row or key in _AT_TIMES[kind]:
      continue
    if key not in optional or optional & row.keys():
      yield f'{key} is missing'
  for key, value in numbers.items():
    if value is None and key not in _NULLABLE:
      yield f'{key} is null, but status is ok'
