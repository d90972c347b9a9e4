"""The focus crop equals the released code's, and joined masks a plain statement of the rule."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from ports.focalclick import focus

GOLDEN = pathlib.Path(__file__).parent / 'golden' / 'focalclick_focus_crop.npz'
CORNERS = np.ones((3, 3), bool)


def ints(*values):
  return jnp.array(values, jnp.int32)


@pytest.fixture(scope='module')
def crop_of():
  @jax.jit
  def run(mask, before, low, high, pixel, size):
    return focus.focus_box(mask, before, (low, high), pixel, size)

  def padded(mask, before, target, pixel, padding=(0, 0)):
    around = [(0, n) for n in padding]
    masks = [jnp.asarray(np.pad(m, around)) for m in (mask, before)]
    ends = ints(*target[::2]), ints(*target[1::2])
    low, high = run(*masks, *ends, ints(*pixel), ints(*mask.shape))
    return [int(low[0]), int(high[0]), int(low[1]), int(high[1])]

  return padded


@pytest.mark.parametrize('padding', [(0, 0), (7, 30)])
def test_the_released_focus_crop(crop_of, padding):
  golden = np.load(GOLDEN)
  assert golden['in/ratio'] == 1.4 and len(golden['focus_box']) == 7
  for mask, before, target, pixel, wanted in zip(
    *(golden[f'in/{name}'] for name in ('pred', 'prev', 'target_box', 'click')),
    golden['focus_box'], strict=True,
  ):
    assert crop_of(mask, before, target, pixel, padding) == wanted.tolist()


def spans(mask):
  """(first row, last, first column, last) of the released code."""
  if mask.sum() < 10:
    return 0, mask.shape[0], 0, mask.shape[1]
  rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
  return rows[0], rows[-1], columns[0], columns[-1]


def plain_crop(mask, before, target, pixel):
  """The rule in float64, as published: (y1, y2, x1, x2), upper ends exclusive."""
  y1, y2, x1, x2 = spans(mask)
  if before.any():
    labels = ndimage.label(mask ^ before, CORNERS)[0]
    part = spans(labels == labels[tuple(pixel)])
    if part[1] - part[0] < (y2 - y1) / 3 or part[3] - part[2] < (x2 - x1) / 3:
      reach = 0.2 * max(y2 - y1, x2 - x1)
      part = pixel[0] - reach, pixel[0] + reach, pixel[1] - reach, pixel[1] + reach
    y1, y2, x1, x2 = part
  found = []
  for axis, (low, high) in enumerate(((y1, y2), (x1, x2))):
    half = 1.4 * (high - low + 1) * 0.5
    middle = 0.5 * (low + high)
    found.append(max(0, int(middle - half), target[2 * axis]))
    found.append(min(mask.shape[axis], int(middle + half), target[2 * axis + 1]))
  return found


def test_crops_of_random_masks(crop_of):
  random = np.random.default_rng(0)
  shape, kinds = (40, 61), set()
  for _ in range(150):
    before, mask = (
      ndimage.gaussian_filter(random.standard_normal(shape), 2.5) > random.normal(0, 0.1)
      for _ in range(2)
    )
    before &= random.random() < 0.8
    if random.random() < 0.4:  # a small change
      mask = before.copy()
      y, x = (random.integers(0, n - 12) for n in shape)
      mask[y : y + random.integers(3, 12), x : x + random.integers(3, 12)] ^= True
    ends = [np.sort(random.choice(n + 1, 2, replace=False)) for n in shape]
    pixel = [int(random.integers(0, n)) for n in shape]
    target = [int(n) for end in ends for n in end]
    wanted = plain_crop(mask, before, target, pixel)
    assert crop_of(mask, before, target, pixel) == [int(n) for n in wanted]
    kinds.add((bool(before.any()), bool((mask ^ before)[tuple(pixel)]), mask.sum() < 10))
  assert len(kinds) >= 4


def test_ends_in_whole_numbers_are_those_of_float64():
  for length in range(1, 4098):
    total = np.arange(length - 1, 2 * 4097, 2)  # first + last row of a box
    middle, half = 0.5 * total, 1.4 * length * 0.5
    low = np.maximum((middle - half).astype(np.int64), 0)
    np.testing.assert_array_equal(np.maximum((5 * total - 7 * length) // 10, 0), low)
    np.testing.assert_array_equal(
      (5 * total + 7 * length) // 10, (middle + half).astype(np.int64)
    )
  # Around a click the ends are never whole numbers, so that rounding decides nothing.
  longest = np.arange(4098)
  assert np.all((14 * longest + 35) % 50 != 0)


def test_components_are_those_of_scipy():
  random = np.random.default_rng(1)
  run = jax.jit(focus.component)
  for share in (0.2, 0.4, 0.6):
    mask = random.random((33, 47)) < share
    labels = ndimage.label(mask, CORNERS)[0]
    for _ in range(12):
      pixel = [int(random.integers(0, n)) for n in mask.shape]
      wanted = (labels == labels[tuple(pixel)]) & mask[tuple(pixel)]
      np.testing.assert_array_equal(run(mask, ints(*pixel)), wanted)


def test_a_spiral_is_followed_to_its_end():
  mask = np.zeros((25, 25), bool)
  y, x, step = 0, 0, (0, 1)
  mask[y, x] = True
  for length in [24, 24, 24, *(n for n in range(22, 0, -2) for _ in range(2))]:
    for _ in range(length):
      y, x = y + step[0], x + step[1]
      mask[y, x] = True
    step = (step[1], -step[0])
  found = jax.jit(focus.component)(mask, ints(0, 0))
  np.testing.assert_array_equal(found, mask)


@functools.cache
def merge():
  return jax.jit(focus.merged)


def test_masks_are_joined_by_the_change_that_is_clicked():
  random = np.random.default_rng(2)
  size = ints(30, 40)
  for _ in range(40):
    before, mask = (
      ndimage.gaussian_filter(random.standard_normal((30, 40)), 2) > 0.05 for _ in range(2)
    )
    labels = ndimage.label(mask ^ before, CORNERS)[0]
    pixel = int(random.integers(0, 30)), int(random.integers(0, 40))
    part = labels == labels[pixel]
    wanted = before & ~part if before[pixel] else before | part
    around = [(0, 3), (0, 5)]
    found = merge()(np.pad(mask, around), np.pad(before, around), ints(*pixel), size)
    np.testing.assert_array_equal(found, np.pad(wanted, around))
