"""A "segmentation" to a mask: polygons and run lengths, and what else has one meaning only."""

import numpy as np
import pytest
from coco_files import INSIDE, SIZE, SQUARE, annotation, document, opened

from tetris_jax import data
from tetris_jax.data import coco_segmentation as coco

FULL = {'size': list(SIZE), 'counts': [20 * 3 + 4, 5, 15, 5, 15, 5, 15, 5, 15, 5, 20 * 22 + 11]}
BOX = [3, 4, 5, 5]


def compress(runs):
  """COCO's string of run lengths, written from its definition."""
  text = []
  for index, run in enumerate(runs):
    value = run - (runs[index - 2] if index > 2 else 0)
    while True:
      bits, value = value & 0x1F, value >> 5
      more = value != (-1 if bits & 0x10 else 0)
      text.append(chr(48 + (bits | (0x20 if more else 0))))
      if not more:
        break
  return ''.join(text)


def runs_of(mask):
  flat = np.concatenate([[False], mask.T.ravel(), [not mask.T.ravel()[-1]]])
  changes = np.flatnonzero(flat[1:] != flat[:-1])
  return np.diff(np.concatenate([[0], changes])).tolist()


@pytest.fixture
def masks():
  rng = np.random.default_rng(0)
  return [rng.random(SIZE) < share for share in (0.02, 0.5, 0.98)] + [np.ones(SIZE, np.bool_)]


def test_run_lengths_come_back_from_either_form(masks):
  for mask in masks:
    runs = runs_of(mask)
    for counts in (runs, compress(runs), compress(runs).encode()):
      found = coco.decode_segmentation({'size': list(SIZE), 'counts': counts}, SIZE)
      np.testing.assert_array_equal(found, mask)


@pytest.mark.parametrize(
  ('segmentation', 'message'),
  [
    ({'size': [20, 31], 'counts': [620]}, r'\[20, 31\]'),
    ({'size': [20, 30], 'counts': [10]}, '10 pixels in all'),
    ({'size': [20, 30], 'counts': 'P'}, 'ends early'),
    ({'size': [20, 30], 'counts': 'é'}, 'holds the character'),
    ([[1, 2, 3, 4]], 'a polygon of 4 numbers'),
    (None, 'of type NoneType'),
    ('abc', 'of type str'),
  ],
)
def test_damaged_segmentations_are_named(segmentation, message):
  with pytest.raises(ValueError, match=message):
    coco.decode_segmentation(segmentation, SIZE)


def test_polygons_count_from_the_corner_and_add_up():
  # Rectangles of corners (3, 4)-(8, 9) and, overlapping, (6, 4)-(12, 7).
  polygons = [[3, 4, 8, 4, 8, 9, 3, 9], [6, 4, 12, 4, 12, 7, 6, 7]]
  expected = np.zeros(SIZE, np.bool_)
  expected[4:9, 3:8] = expected[4:7, 6:12] = True
  np.testing.assert_array_equal(coco.decode_segmentation(polygons, SIZE), expected)



@pytest.mark.parametrize(
  'segmentation',
  [
    SQUARE,
    [[[3, 4], [8, 4], [8, 9], [3, 9]]],
    [[3, 4], [8, 4], [8, 9], [3, 9]],
    [[[SQUARE]]],
    [[str(value) for value in SQUARE]],
    [SQUARE, [20.0, 15.0, 21.0, 15.0]],
    [[], SQUARE, [1.0, 1.0]],
    [BOX],
    BOX,
    [[3, 4, 2, 5], [5, 4, 3, 5]],
    FULL,
    {'counts': FULL['counts']},
    {'size': None, 'counts': FULL['counts']},
    {'size': ['20', 30.0], 'counts': [float(run) for run in FULL['counts']]},
    {'size': (20, 30), 'counts': [str(run) for run in FULL['counts']]},
    [FULL],
    [FULL, SQUARE],
    [FULL, {'size': [20, 30], 'counts': compress(FULL['counts'])}],
  ],
)
def test_what_has_one_meaning_is_read(segmentation):
  found = coco.decode_segmentation(segmentation, SIZE, bbox=BOX)
  np.testing.assert_array_equal(found, INSIDE)


@pytest.mark.parametrize(
  ('segmentation', 'message'),
  [
    (5, 'of type int'),
    ([None], 'null in place of a polygon'),
    ([SQUARE, None], 'null in place of a polygon'),
    ([SQUARE, 'abc'], "'abc' in place of a polygon"),
    ([SQUARE + [3.0]], 'a polygon of 9 numbers'),
    ([SQUARE, [1, 2, 3]], 'a polygon of 3 numbers'),
    ([[]], 'a polygon of 0 numbers'),
    ([[3, 4, 8, 9]], 'a polygon of 4 numbers.*its "bbox"'),
    ([[3, 4, 5, 6]], 'a polygon of 4 numbers'),
    ([SQUARE, BOX], '"bbox" stands among its polygons'),
    ([[3, 4, float('nan'), 4, 8, 9]], 'a polygon holds nan'),
    ([[3, 4, 1e400, 4, 8, 9]], 'a polygon holds inf'),
    ([[3, 4, 2**70, 4, 8, 9]], 'more than 1e\\+06 pixels away'),
    ([[3, 4, 10**400, 4, 8, 9]], 'expected numbers'),
    ([[3, 4, True, 4, 8, 9]], 'a polygon holds true'),
    ([[3, 4, 'x', 4, 8, 9]], "a polygon holds 'x'"),
    ([[[3, 4, 1], [8, 4, 1], [8, 9, 1]]], r'a polygon holds \[3, 4, 1\]'),
    ([{'x': 3, 'y': 4}] * 3, 'an object without "counts"'),
    ([[value / 30 for value in SQUARE]], r'lie in \[0, 1\]'),
    ({}, 'an object without "counts"'),
    ({'size': [30, 20], 'counts': FULL['counts']}, 'height and width exchanged'),
    ({'size': '20x30', 'counts': FULL['counts']}, "run lengths of '20x30' pixels"),
    ({'size': [20], 'counts': FULL['counts']}, r'run lengths of \[20\] pixels'),
    ({'counts': 5}, 'run lengths that are 5'),
    ({'counts': {}}, 'run lengths that are an empty object'),
    ({'counts': [0.5, 599.5]}, 'hold 0.5'),
    ({'counts': [None, 600]}, 'hold null'),
    ({'counts': [True] * 600}, 'hold true'),
    ({'counts': [float('inf')]}, 'hold inf'),
    ({'counts': [2**70]}, 'run lengths of 1180591620717411303424 pixels in all'),
    ({'counts': [2**70, 600 - 2**70]}, 'a negative run length'),
    ({'counts': '€'}, 'holds the character'),
    ({'counts': 'o' * 100_000}, 'more than 60 bits'),
    ({'counts': ''}, '0 pixels in all'),
  ],
)
def test_what_has_none_is_said(segmentation, message):
  with pytest.raises(ValueError, match=message):
    coco.decode_segmentation(segmentation, SIZE, bbox=BOX)


@pytest.mark.parametrize('bbox', [None, [], 'x', [3, 4, 5], [None] * 4, [3, 4, -5, 5], [0] * 4])
def test_four_numbers_are_no_box_without_a_word_for_it(bbox):
  with pytest.raises(ValueError, match='a polygon of 4 numbers'):
    coco.decode_segmentation([BOX], SIZE, bbox=bbox)
  np.testing.assert_array_equal(coco.decode_segmentation([SQUARE], SIZE, bbox=bbox), INSIDE)


def row(root, **changes):
  return opened(root, document([annotation(**changes)]))[0]


def test_a_row_says_what_is_missing(tmp_path):
  for name, value, reason in (
    ('null', None, 'it has no "segmentation"; its "bbox" alone is no mask'),
    ('number', 5, 'its segmentation is damaged: a segmentation of type int'),
    ('empty', [], 'its segmentation holds no pixel centre'),
    ('away', [[-9, -9, -5, -9, -5, -5]], 'its segmentation lies outside of the picture'),
  ):
    found = row(tmp_path / name, segmentation=value)
    assert isinstance(found, data.Rejected) and found.size == SIZE
    assert found.reason.startswith(reason)
    assert found.status == ('failed' if name in ('null', 'number') else 'skipped')


def test_a_row_warns_of_polygons_that_reach_far_beyond_the_picture(tmp_path):
  far = row(tmp_path / 'far', segmentation=[[3, 4, 8, 4, 8, 60, 3, 60]])
  assert far.mask.sum() == 16 * 5
  assert far.warnings == (
    'its polygons reach 200% of a side beyond the picture and are cut off there',
  )
  near = row(tmp_path / 'near', segmentation=[[-1, 4, 8, 4, 8, 21, -1, 21]])
  assert near.mask.sum() == 16 * 8 and not near.warnings


def turned(polygon):
  return [value for pair in zip(polygon[1::2], polygon[::2], strict=True) for value in pair]


def runs(mask, *, by_rows=False):
  flat = (mask if by_rows else mask.T).ravel().astype(int)
  starts = [0, *(np.flatnonzero(np.diff(flat)) + 1), flat.size]
  return {'size': list(SIZE), 'counts': [0] * int(flat[0]) + np.diff(starts).tolist()}


LONG = [12.0, 2.0, 28.0, 2.0, 28.0, 6.0, 12.0, 6.0]
LONG_BOX = [12, 2, 16, 4]
LONG_INSIDE = np.zeros(SIZE, np.bool_)
LONG_INSIDE[2:6, 12:28] = True


@pytest.mark.parametrize(('drawn', 'bbox', 'how'), [
  ([turned(LONG)], LONG_BOX, 'with x and y exchanged'),
  ([[12 / 0.3, 2 / 0.2, 28 / 0.3, 2 / 0.2, 28 / 0.3, 6 / 0.2]], LONG_BOX, 'as per cent of the'),
  (runs(LONG_INSIDE, by_rows=True), LONG_BOX, 'with run lengths along the rows'),
  # Which of both is wrong nobody can tell.
  ([LONG], [2, 12, 4, 16], 'with x and y exchanged'),
])  # fmt: skip
def test_a_row_warns_of_what_fits_its_bbox_in_another_reading_only(tmp_path, drawn, bbox, how):
  found = row(tmp_path, segmentation=drawn, bbox=bbox)
  # Per cent lie beyond so small a picture.
  told = found.reason if isinstance(found, data.Rejected) else '; '.join(found.warnings)
  assert told.count(f'its segmentation fits its "bbox" only {how}') == 1


@pytest.mark.parametrize('side', [80, 110, 125])
def test_per_cent_are_told_from_pixels_also_where_they_overlap(side):
  # Around the middle of a picture of about 100 pixels a side, both lie nearly in one place.
  near, far = round(0.08 * side), round(0.94 * side)
  corners = np.array([near, near, far, near, far, far, near, far], float)
  bbox, size = [near, near, far - near, far - near], (side, side)
  told = lambda drawn: coco.doubt(
    coco.outline([drawn.tolist()], size, bbox=bbox), size, bbox=bbox
  )
  assert told(corners * 100 / side).startswith('its segmentation fits its "bbox" only as per cent')
  assert told(corners) == ''


@pytest.mark.parametrize(('drawn', 'bbox'), [
  ([LONG], LONG_BOX),
  (runs(LONG_INSIDE), LONG_BOX),
  ([LONG], [11.6, 1.5, 17, 5]),
  # Placeholders, boxes of more than what is seen, of other tools, and none at all say nothing.
  ([LONG], [0, 0, 1, 1]),
  ([LONG], [0, 0, 30, 20]),
  ([LONG], [0, 0, 0, 0]),
  ([LONG], [20, 2, 4]),
  ([LONG], ['12', '2', '16', '4']),
  ([LONG], None),
  ([LONG], {'x': 12}),
  ([LONG], [float('nan')] * 4),
  ([LONG], [-1e308, 0, 1e308, 1e308]),
  ([LONG], [12, 2, 28, 6]),
  ([LONG, runs(LONG_INSIDE)], [2, 12, 4, 16]),
])
def test_a_row_without_such_a_reading_has_no_warning(tmp_path, drawn, bbox):
  found = row(tmp_path, segmentation=drawn, bbox=bbox)
  np.testing.assert_array_equal(found.mask, LONG_INSIDE)
  assert found.warnings == ()
