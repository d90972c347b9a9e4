"""The picture of an instance: what is drawn where, checked by colour."""

import numpy as np
import pytest
from runs import pixels

from tetris_jax import types
from tetris_jax.report.attack import overlay

GREY = 128


def has(image, colour, tolerance=12):
  return (np.abs(image - np.array(colour)).max(-1) <= tolerance).any()


@pytest.fixture
def sample():
  mask = np.zeros((40, 60), bool)
  mask[10:30, 10:30] = True
  image = np.full((40, 60, 3), GREY, np.uint8)
  return 'stem/of a picture', image, mask


def trajectories(modes, clicks, canvas=(40, 60), sign=1):
  masks = np.zeros((modes, len(overlay.rounds(clicks)), *canvas), bool)
  masks[:, :, 12:20, 35:55] = True
  return types.Trajectories(
    clicks=types.Clicks(
      np.full((modes, clicks, 2), 25.0, np.float32), np.full((modes, clicks), sign, np.int32)
    ),
    iou=np.full((modes, clicks), 0.5, np.float32),
    biou=None,
    mask=masks,
    forward=None,
    backward=None,
  )


def test_the_rounds_that_are_drawn():
  assert overlay.rounds(1) == (0,)
  assert overlay.rounds(2) == (0, 1)
  assert overlay.rounds(10) == (0, 9)


@pytest.mark.parametrize(('modes', 'clicks'), [(3, 10), (3, 1), (1, 2), (1, 1)])
def test_a_column_a_mode_and_a_row_a_round(sample, modes, clicks):
  image = pixels(overlay.draw(*sample, trajectories(modes, clicks)))
  # The photograph's grey, of which no other part of the picture has a run, tells the panels.
  grey = np.abs(image - GREY).max(-1) <= 4
  wide = grey.sum(1) > 100
  panels_down = np.sum(np.diff(wide.astype(int)) == 1)
  assert panels_down == len(overlay.rounds(clicks))
  row = grey[np.argmax(wide) + 5]
  starts = np.flatnonzero(np.diff(np.r_[0, row.astype(int)]) == 1)
  long = [start for start in starts if row[start : start + 30].all()]
  assert len(long) == modes


def test_padding_does_not_change_a_picture(sample):
  plain = overlay.draw(*sample, trajectories(3, 2))
  assert plain == overlay.draw(*sample, trajectories(3, 2, canvas=(128, 64)))


def test_positive_and_negative_clicks_differ_in_colour(sample):
  def panel(sign):
    image = pixels(overlay.draw(*sample, trajectories(1, 1, sign=sign)))
    return image[: image.shape[0] - 45]  # Without the legend.

  green, red = (0, 158, 115), (213, 94, 0)
  assert has(panel(1), green)
  assert not has(panel(1), red)
  assert has(panel(0), red)
  assert not has(panel(0), green)


def test_truth_and_prediction_are_where_they_are(sample):
  image = pixels(overlay.draw(*sample, trajectories(1, 1)))
  image = image[: image.shape[0] - 45]
  blueish = (image[..., 2] - image[..., 0] > 40) & (image[..., 2] > image[..., 1])
  yellow = (image[..., 0] > 200) & (image[..., 1] > 190) & (image[..., 2] < 120)
  # A panel is 420 pixels wide for the 60 of the photograph, beginning at pixel 10.
  assert np.flatnonzero(blueish.any(0))[[0, -1]] == pytest.approx([10 + 35 * 7, 9 + 55 * 7], abs=4)
  assert np.flatnonzero(yellow.any(0))[[0, -1]] == pytest.approx([10 + 10 * 7, 9 + 30 * 7], abs=4)


@pytest.mark.parametrize('size', [(1, 1), (1, 300), (300, 2)])
def test_odd_sizes_can_be_drawn(size):
  mask = np.ones(size, bool)
  black = np.zeros((*size, 3), np.uint8)
  found = trajectories(3, 3, canvas=(320, 320))
  assert pixels(overlay.draw('x' * 300, black, mask, found)).shape[2] == 3


def test_coinciding_clicks_get_places_of_their_own():
  places = []
  for _ in range(12):
    place = overlay._free_place(np.array([50.0, 50.0]), places, 10.0, np.array([101.0, 101.0]))
    assert all(np.hypot(*(place - other)) >= 10 for other in places)
    places.append(place)
