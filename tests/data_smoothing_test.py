"""Leftovers of smoothing and lossy codecs against label pictures as they are drawn."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from tetris_jax.data import smoothing

FILTERS = [Image.Resampling[name] for name in ('BILINEAR', 'BICUBIC', 'LANCZOS', 'HAMMING', 'BOX')]


def cells(number, size=160, largest=9, seed=0):
  """Disks, each with its own number from 1 on."""
  rng = np.random.default_rng(seed)
  y, x = np.ogrid[:size, :size]
  out = np.zeros((size, size), np.int32)
  for one in range(1, number + 1):
    row, column = rng.integers(5, size - 5, 2)
    out[(y - row) ** 2 + (x - column) ** 2 <= rng.integers(largest // 2, largest + 1) ** 2] = one
  return out


def packed(rgb):
  red, green, blue = np.moveaxis(np.asarray(rgb).astype(np.int32), -1, 0)
  return red << 16 | green << 8 | blue


def resized(numbers, filter, size):
  image = Image.fromarray(numbers.astype(np.float32)).resize(size, filter)
  return np.rint(np.asarray(image).clip(0)).astype(np.int32)


SCENE = np.zeros((96, 128), np.uint8)
SCENE[70:90, 90:120], SCENE[5:20, 90:120] = 2, 1
SCENE[(np.ogrid[:96, :1][0] - 44) ** 2 + (np.ogrid[:1, :128][1] - 50) ** 2 < 500] = 3
COLOURS = np.array([[0, 0, 0], [200, 30, 30], [30, 200, 30], [30, 30, 200]], np.uint8)


def test_pixels_of_numbers_are_those_of_a_sort():
  for seed in range(3):
    numbers = np.random.default_rng(seed).integers(-1, 5, (7, 9), dtype=np.int32)
    found, counts = smoothing.pixels_of(numbers)
    expected = np.unique(numbers, return_counts=True)
    np.testing.assert_array_equal(found, expected[0])
    np.testing.assert_array_equal(counts, expected[1])


@pytest.mark.parametrize('filter', FILTERS)
@pytest.mark.parametrize('size', [(192, 144), (64, 48)])
def test_resizing_that_interpolates_is_seen(filter, size):
  if filter == Image.Resampling.BOX and size[0] > 128:
    return  # It repeats pixels, so nothing was smoothed.
  grey = Image.fromarray(SCENE * 80).resize(size, filter)
  assert smoothing.leftovers(np.asarray(grey).astype(np.int32))
  colours = Image.fromarray(COLOURS[SCENE]).resize(size, filter)
  found = smoothing.leftovers(packed(colours))
  assert found.bad >= found.numbers / 2
  few = np.zeros((96, 128), np.int32)
  few[20:60, 30:70] = 80
  if filter == Image.Resampling.BILINEAR:
    assert smoothing.leftovers(resized(few, filter, (200, 150)))


@pytest.mark.parametrize('filter', FILTERS)
@pytest.mark.parametrize('number', [5, 30, 300])
def test_smoothed_numbers_that_hide_in_each_other_are_seen(filter, number):
  drawn = cells(number, largest=5 if number == 300 else 20, size=260)
  assert smoothing.leftovers(drawn) is None
  found = smoothing.leftovers(resized(drawn, filter, (173, 173)))
  assert found.rims >= 0.2 and found.numbers >= number * 0.8


@pytest.mark.parametrize('change', [
  lambda image: image.rotate(10, Image.Resampling.BILINEAR),
  lambda image: image.filter(ImageFilter.GaussianBlur(0.5)),
  lambda image: image.filter(ImageFilter.GaussianBlur(3)),
])
def test_turning_and_blurring_are_seen(change):
  for image in (Image.fromarray(SCENE * 80), Image.fromarray(COLOURS[SCENE])):
    numbers = np.asarray(change(image))
    assert smoothing.leftovers(packed(numbers) if numbers.ndim == 3 else numbers.astype(np.int32))


@pytest.mark.parametrize(('codec', 'quality'), [
  ('JPEG', 50), ('JPEG', 75), ('JPEG', 95), ('WEBP', 30), ('WEBP', 80),
])
def test_what_a_lossy_codec_left_in_a_lossless_file_is_seen(codec, quality):
  file = io.BytesIO()
  Image.fromarray(COLOURS[SCENE]).save(file, codec, quality=quality)
  assert smoothing.leftovers(packed(Image.open(file).convert('RGB')))


def test_dithering_is_seen():
  few_colours = Image.fromarray(COLOURS[SCENE]).convert('P')  # Pillow's web palette.
  assert smoothing.leftovers(np.asarray(few_colours).astype(np.int32))


def test_antialiased_drawing_is_seen():
  image = Image.new('RGB', (512, 384))
  draw = ImageDraw.Draw(image)
  draw.ellipse((40, 40, 200, 200), fill=(128, 0, 0))
  draw.polygon([(300, 40), (480, 120), (320, 300)], fill=(0, 128, 0))
  assert smoothing.leftovers(packed(image)) is None
  assert smoothing.leftovers(packed(image.resize((128, 96), Image.Resampling.BOX)))


def test_a_photograph_is_no_label_picture():
  rng = np.random.default_rng(0)
  slope = np.add.outer(np.arange(90), np.arange(120))
  assert smoothing.leftovers((slope + rng.normal(0, 6, slope.shape)).clip(1, 255).astype(np.int32))


def drawings():
  rng = np.random.default_rng(1)
  y, x = np.mgrid[:200, :200]
  yield 'scene', SCENE.astype(np.int32)
  yield 'levels', SCENE.astype(np.int32) * 80
  yield 'colours', packed(COLOURS[SCENE])
  for step in (1, 4, 8):
    yield f'300 cells, every {step}th pixel', cells(300, 400)[::step, ::step].copy()
  dots = np.zeros((200, 200), np.int32)
  dots[tuple(rng.integers(0, 200, (2, 300)))] = np.arange(1, 301)
  yield '300 dots', dots
  many = np.zeros((200, 200), np.int32)
  many[tuple(rng.integers(0, 200, (2, 900)))] = np.arange(900) % 20 + 1
  yield '20 kinds of dots', many
  lines = Image.new('I', (300, 300))
  draw = ImageDraw.Draw(lines)
  for number in range(1, 101):
    draw.line([int(one) for one in rng.integers(0, 300, 4)], fill=number)
  yield '100 lines', np.asarray(lines).astype(np.int32)
  centres = rng.integers(0, 200, (150, 2))
  nearest = np.argmin([(y - row) ** 2 + (x - column) ** 2 for row, column in centres], 0) + 1
  yield 'Voronoi', nearest.astype(np.int32)
  yield 'tiles', ((y // 2) * 100 + x // 2 + 1).astype(np.int32)
  yield 'layers', np.minimum(np.hypot(y - 100, x - 100) // 2, 40).astype(np.int32)
  bordered = Image.new('I', (300, 300))
  draw = ImageDraw.Draw(bordered)
  for number in range(2, 32):
    row, column = (int(one) for one in rng.integers(20, 280, 2))
    draw.ellipse((column - 15, row - 15, column + 15, row + 15), fill=number, outline=1)
  yield 'a class of borders', np.asarray(bordered).astype(np.int32)
  void = np.where(SCENE > 0, SCENE, 0).astype(np.int32)
  void[(void > 0) & (np.roll(void, 1, 0) == 0)] = 255
  yield 'void', void
  yield 'one pixel', np.array([[7]], np.int32)
  yield 'ten numbers on ten pixels', np.arange(1, 11, dtype=np.int32).reshape(2, 5)


@pytest.mark.parametrize(('name', 'numbers'), list(drawings()))
def test_what_is_drawn_is_left_alone(name, numbers):
  assert smoothing.leftovers(numbers) is None, name
