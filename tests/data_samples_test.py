"""The bundled samples and the rule that turns their outlines into masks."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetris_jax.data import DataError, Sample, open_dataset
from tetris_jax.data import samples as samples_module
from tetris_jax.data.samples import fill_polygons, read_samples

# Pixels of the object and of the ignored region.
AREAS = {
  'astronaut_helmet': (32394, 0),
  'astronaut_patch': (4329, 0),
  'astronaut_person': (108013, 0),
  'camera_camcorder': (2713, 0),
  'camera_person': (79047, 271),
  'chelsea_eye': (2870, 0),
  'chelsea_nose': (940, 0),
  'coffee_cup': (50382, 0),
  'coffee_spoon': (6428, 0),
  'coins_large': (2614, 0),
  'coins_uneven': (1909, 0),
  'motorcycle_bottle': (577, 0),
  'motorcycle_signal': (523, 0),
  'rocket_rocket': (4952, 0),
}


def test_a_square_covers_the_centres_inside_it():
  square = [[2, 1], [6, 1], [6, 4], [2, 4]]
  expected = np.zeros((6, 9), bool)
  expected[1:4, 2:6] = True  # Left and top edges count, right and bottom ones do not.
  np.testing.assert_array_equal(fill_polygons([square], (6, 9)), expected)
  np.testing.assert_array_equal(fill_polygons([square[::-1]], (6, 9)), expected)
  shifted = [[x - 0.5, y - 0.5] for x, y in square]
  np.testing.assert_array_equal(fill_polygons([shifted], (6, 9)), expected)


def test_a_polygon_inside_another_is_a_hole():
  outer, inner = [[0, 0], [8, 0], [8, 8], [0, 8]], [[2, 2], [5, 2], [5, 5], [2, 5]]
  mask = fill_polygons([outer, inner], (8, 8))
  assert mask.sum() == 64 - 9 and not mask[2:5, 2:5].any()


def test_vertices_outside_the_image_are_cut_off():
  mask = fill_polygons([[[-5, -7], [100, -7], [100, 50], [-5, 50]]], (4, 5))
  assert mask.shape == (4, 5) and mask.all()
  assert not fill_polygons([[[-5, -7], [-1, -7], [-1, 50]]], (4, 5)).any()
  assert not fill_polygons([], (4, 5)).any()


def test_a_circle_has_its_area():
  turns = np.linspace(0, 2 * np.pi, 400, endpoint=False)
  circle = np.stack([50 + 40 * np.cos(turns), 50 + 40 * np.sin(turns)], -1)
  assert abs(fill_polygons([circle], (101, 101)).sum() - np.pi * 1600) < 20


def test_a_polygon_needs_three_vertices():
  with pytest.raises(ValueError, match='2 vertices'):
    fill_polygons([[[0, 0], [1, 1]]], (4, 4))


coordinate = st.integers(-3 * 16, 23 * 16).map(lambda number: number / 16)
vertex = st.tuples(coordinate, coordinate)
SIZE = (19, 21)


def in_triangle(triangle):
  """Centres strictly inside and centres strictly outside a triangle, by signed areas."""
  y, x = np.mgrid[: SIZE[0], : SIZE[1]]
  sides = []
  for (x0, y0), (x1, y1) in zip(triangle, triangle[1:] + triangle[:1], strict=True):
    sides.append((x1 - x0) * (y - y0) - (y1 - y0) * (x - x0))
  sides = np.stack(sides)
  inside = (sides > 0).all(0) | (sides < 0).all(0)
  outside = (sides > 0).any(0) & (sides < 0).any(0)
  return inside, outside


@settings(deadline=None)
@given(st.lists(vertex, min_size=3, max_size=3, unique=True))
def test_a_triangle_is_what_its_three_sides_say(triangle):
  mask = fill_polygons([triangle], SIZE)
  inside, outside = in_triangle(triangle)
  assert mask[inside].all() and not mask[outside].any()


@settings(deadline=None)
@given(st.lists(vertex, min_size=4, max_size=9))
def test_a_polygon_is_the_parity_of_its_fan_of_triangles(polygon):
  fan = [[polygon[0], polygon[i], polygon[i + 1]] for i in range(1, len(polygon) - 1)]
  parity = np.zeros(SIZE, bool)
  for triangle in fan:
    parity ^= fill_polygons([triangle], SIZE)
  np.testing.assert_array_equal(fill_polygons([polygon], SIZE), parity)
  np.testing.assert_array_equal(fill_polygons(fan, SIZE), parity)


def test_every_outline_gives_the_mask_that_was_drawn():
  found = {}
  for sample in open_dataset('samples'):
    assert isinstance(sample, Sample)
    assert sample.image.shape == (*sample.size, 3) and sample.image.dtype == np.uint8
    assert sample.mask.shape == sample.ignore.shape == sample.size
    assert not (sample.mask & sample.ignore).any()
    found[sample.instance] = int(sample.mask.sum()), int(sample.ignore.sum())
  assert found == AREAS


def test_sizes_are_known_without_loading_a_photograph(monkeypatch):
  dataset = read_samples()
  expected = [sample.size for sample in dataset]
  loaded = []
  monkeypatch.setattr(samples_module, '_photograph', lambda module, name: loaded.append(name))
  assert [read_samples().size(index) for index in range(len(dataset))] == expected
  assert loaded == []


def test_objects_differ_from_what_surrounds_them():
  """A band along the inside of an outline looks unlike the band along its outside."""
  from scipy import ndimage

  for sample in read_samples():
    inside = sample.mask & ~ndimage.binary_erosion(sample.mask, iterations=4)
    outside = ndimage.binary_dilation(sample.mask, iterations=4) & ~sample.mask
    colours = sample.image.astype(np.float64)
    difference = np.abs(colours[inside].mean(0) - colours[outside].mean(0)).max()
    assert difference > 15, (sample.instance, difference)


def test_another_photograph_than_was_outlined_is_a_row_that_says_so(monkeypatch):
  import skimage.data

  monkeypatch.setattr(skimage.data, 'rocket', lambda: np.zeros((4, 5, 3), np.uint8))
  dataset = read_samples()
  index = dataset.names.index('rocket_rocket')
  found = dataset[index]
  assert found.status == 'failed'
  assert 'rocket of the installed scikit-image has 4 x 5 pixels' in found.reason


def test_without_scikit_image_the_error_names_the_extra(monkeypatch):
  monkeypatch.setitem(sys.modules, 'skimage.data', None)
  with pytest.raises(DataError, match=r'pip install tetris_jax\[demo\]'):
    open_dataset('samples')
