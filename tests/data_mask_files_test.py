"""Mask files as levels and as ids: what alpha, pages, ranges and palettes mean, or a refusal."""

import numpy as np
import pytest
from picture_files import SIZE, disk, labelled, palette_file, save, write_png, write_tiff
from PIL import Image

from tetris_jax.data.images import UnreadableImage, read_mask

MASK = disk()
LEVELS = np.where(MASK, 255, 0).astype(np.uint8)
DEEP = LEVELS.astype(np.uint16)
IDS = labelled()
COLOURS = np.array([[0, 0, 0], [200, 30, 30], [30, 200, 30], [30, 30, 200]], np.uint8)
NUMBERS = [int(r) << 16 | int(g) << 8 | int(b) for r, g, b in COLOURS]


def full(value):
  return np.full(SIZE, value, np.uint8)


def ids_of(path):
  return read_mask(path, objects='ids')


def clear_outside(rgb, shown=MASK):
  """RGBA, (height, width, 4), of these colours, clear where nothing is shown."""
  return np.dstack([rgb, np.where(shown, 255, 0).astype(np.uint8)])


@pytest.mark.parametrize('colour', [(255, 255, 255), (0, 0, 0), (200, 10, 10)])
def test_one_colour_and_an_alpha_that_varies_is_a_mask_in_alpha(tmp_path, colour):
  rgba = clear_outside(np.dstack([full(channel) for channel in colour]))
  paths = [save(tmp_path / 'a.png', rgba), tmp_path / 'a.webp', tmp_path / 'a.tif']
  Image.fromarray(rgba).save(paths[1], lossless=True, exact=True)
  Image.fromarray(rgba).save(paths[2])
  pair = [colour] * 2
  paths.append(palette_file(tmp_path / 'b.png', MASK, pair, transparency=bytes([0, 255])))
  paths.append(palette_file(tmp_path / 'b.gif', MASK, pair, transparency=0))
  if len(set(colour)) == 1:
    grey = Image.merge('LA', (Image.fromarray(full(colour[0])), Image.fromarray(LEVELS)))
    grey.save(tmp_path / 'c.png')
    paths.append(tmp_path / 'c.png')
    deep = np.dstack([DEEP * 0 + colour[0] * 257, DEEP * 257])
    paths.append(write_png(tmp_path / 'd.png', deep, 4))
  for path in paths:
    np.testing.assert_array_equal(read_mask(path), LEVELS, str(path))


def test_premultiplied_black_is_a_mask_in_alpha_too(tmp_path):
  for name, channels in (('rgb', 3), ('grey', 1)):
    page = np.dstack([full(0)] * channels + [LEVELS])
    tags = [(338, 1), (262, 2 if channels == 3 else 1)]
    path = write_tiff(tmp_path / f'{name}.tif', [page], tags)
    np.testing.assert_array_equal(read_mask(path), LEVELS, name)


def test_soft_alpha_keeps_its_levels(tmp_path):
  soft = np.linspace(0, 255, MASK.size).reshape(SIZE).astype(np.uint8)
  path = save(tmp_path / 'a.png', np.dstack([full(255)] * 3 + [soft]))
  np.testing.assert_array_equal(read_mask(path), soft)


def test_where_colours_vary_as_well_they_count(tmp_path):
  both = np.dstack([LEVELS] * 3 + [LEVELS[::-1]])
  np.testing.assert_array_equal(read_mask(save(tmp_path / 'a.png', both)), LEVELS)
  opaque = np.dstack([LEVELS] * 3 + [full(255)])
  np.testing.assert_array_equal(read_mask(save(tmp_path / 'b.png', opaque)), LEVELS)
  red = clear_outside(np.dstack([LEVELS, full(0), full(0)]))
  with pytest.raises(UnreadableImage, match=r'a\.png holds colours, beside an alpha that varies'):
    read_mask(save(tmp_path / 'a.png', red))


def test_a_channel_without_meaning_that_would_be_lost_is_refused(tmp_path):
  page = np.dstack([full(0), LEVELS])
  path = write_tiff(tmp_path / 'a.tif', [page], [(262, 1), (338, 0)])
  with pytest.raises(UnreadableImage, match=r'one level and has a channel of no stated meaning'):
    read_mask(path)
  page = np.dstack([LEVELS, full(0)])
  path = write_tiff(tmp_path / 'b.tif', [page], [(262, 1), (338, 0)])
  np.testing.assert_array_equal(read_mask(path), LEVELS)


def test_indices_that_a_palette_shows_alike_are_refused(tmp_path):
  path = palette_file(tmp_path / 'a.png', MASK, [(0, 0, 0), (0, 0, 0)])
  with pytest.raises(UnreadableImage, match=r'shows the indices 0, 1 of its palette in one colour'):
    read_mask(path)
  np.testing.assert_array_equal(ids_of(path), MASK)


@pytest.mark.parametrize('objects', ['binary', 'ids'])
def test_pages_and_frames_that_differ_are_refused_by_their_count(tmp_path, objects):
  stack = write_tiff(tmp_path / 'a.tif', [LEVELS, LEVELS[::-1], LEVELS * 0])
  blank = write_tiff(tmp_path / 'b.tif', [LEVELS * 0, LEVELS])
  moving = tmp_path / 'c.gif'
  Image.fromarray(LEVELS).save(
    moving, save_all=True, append_images=[Image.fromarray(LEVELS[:, ::-1])]
  )
  for path, count in ((stack, 3), (blank, 2), (moving, 2)):
    with pytest.raises(UnreadableImage, match=f'holds {count} pages or frames that differ'):
      read_mask(path, objects=objects)
  same = write_tiff(tmp_path / 'd.tif', [LEVELS, LEVELS, LEVELS * 0])
  np.testing.assert_array_equal(read_mask(same, objects=objects), LEVELS)


@pytest.mark.parametrize('white', [255, 1023, 4095, 16383, 32767, 65535])
def test_white_of_any_depth_is_an_object(tmp_path, white):
  mask = np.where(MASK, white, 0)
  path = save(tmp_path / 'a.png', mask.astype(np.uint16))
  np.testing.assert_array_equal(read_mask(path), LEVELS)
  path = write_tiff(tmp_path / 'a.tif', [mask.astype(np.int32)])
  np.testing.assert_array_equal(read_mask(path), LEVELS)


@pytest.mark.parametrize('value', [256, 1000, 4000, 15000])
def test_sixteen_bit_numbers_that_are_no_levels_are_refused_as_they_are(tmp_path, value):
  path = save(tmp_path / 'a.png', np.where(MASK, value, 0).astype(np.uint16))
  with pytest.raises(UnreadableImage, match=f"up to {value} of 16 bits, .*objects='ids'"):
    read_mask(path)
  np.testing.assert_array_equal(ids_of(path), np.where(MASK, value, 0))


def test_deep_masks_that_count_down_from_white_are_turned(tmp_path):
  path = write_tiff(tmp_path / 'a.tif', [65535 - DEEP * 257], [(262, 0)])
  np.testing.assert_array_equal(read_mask(path), LEVELS)
  # Small numbers are none of it.
  path = write_tiff(tmp_path / 'b.tif', [MASK.astype(np.uint16)], [(262, 0)])
  np.testing.assert_array_equal(read_mask(path), MASK)


def test_colours_of_sixteen_bits_are_read_by_what_they_hold(tmp_path):
  for white in (255, 4095, 65535):
    path = write_png(tmp_path / 'a.png', np.dstack([np.where(MASK, white, 0)] * 3).astype('u2'), 2)
    np.testing.assert_array_equal(read_mask(path), LEVELS)


@pytest.mark.parametrize('software', ['', 'tifffile.py'])
def test_bits_of_a_library_that_writes_arrays_count_as_written(tmp_path, software):
  image = Image.fromarray(MASK)
  tags = {262: 0, **({305: software} if software else {})}
  image.save(tmp_path / 'a.tif', tiffinfo=tags)
  with Image.open(tmp_path / 'a.tif') as written:
    assert written.tile[0].args[0] == '1;I'
    shown = np.asarray(written)
  expected = ~shown if software else shown
  np.testing.assert_array_equal(read_mask(tmp_path / 'a.tif') > 0, expected)
  np.testing.assert_array_equal(ids_of(tmp_path / 'a.tif'), expected)


def test_float_masks(tmp_path):
  for page in (MASK.astype(np.float32), LEVELS.astype(np.float32)):
    path = write_tiff(tmp_path / 'a.tif', [page])
    np.testing.assert_array_equal(read_mask(path), LEVELS)
  path = write_tiff(tmp_path / 'b.tif', [np.where(MASK, 1, -1).astype(np.float32)])
  with pytest.raises(UnreadableImage, match='floats from -1 to 1'):
    read_mask(path)


def test_whole_floats_are_ids_and_others_are_refused_with_a_cause(tmp_path):
  np.testing.assert_array_equal(ids_of(write_tiff(tmp_path / 'a.tif', [IDS.astype('f4')])), IDS)
  for page, reason in (
    (IDS * np.float32(0.5), r'with \d+ pixels that are no whole numbers, interpolated labels or'),
    (IDS - np.float32(1), 'negative values, often a mark of ignored pixels'),
    (np.where(MASK, np.nan, 1).astype('f4'), 'no whole numbers'),
    (IDS * np.float32(2**23), r'above 2\*\*24'),
  ):
    with pytest.raises(UnreadableImage, match=reason):
      ids_of(write_tiff(tmp_path / 'b.tif', [page]))


@pytest.mark.parametrize('kind', [np.int8, np.int16, np.int32])
def test_negative_ids_are_refused_by_their_count(tmp_path, kind):
  path = write_tiff(tmp_path / 'a.tif', [IDS.astype(kind)])
  np.testing.assert_array_equal(ids_of(path), IDS)
  path = write_tiff(tmp_path / 'a.tif', [IDS.astype(kind) - kind(1)])
  count = int((IDS == 0).sum())
  with pytest.raises(UnreadableImage, match=f'negative values at {count} pixels.*ignore_id'):
    ids_of(path)


@pytest.mark.parametrize(('name', 'options', 'what'), [
  ('a.jpg', {'quality': 95}, 'is a JPEG, whose rounding changes object ids; keep'),
  ('a.webp', {'quality': 80}, 'is a lossy WebP, whose rounding'),
  ('a.tif', {'compression': 'jpeg'}, 'is a TIFF with JPEG inside, whose rounding'),
])
def test_lossy_codecs_are_refused_as_ids(tmp_path, name, options, what):
  with pytest.raises(UnreadableImage, match=what):
    ids_of(save(tmp_path / name, COLOURS[IDS], **options))


def test_lossless_webp_holds_ids(tmp_path):
  expected = np.array(NUMBERS)[IDS]
  path = save(tmp_path / 'a.webp', COLOURS[IDS], lossless=True)
  np.testing.assert_array_equal(ids_of(path), expected)
  Image.fromarray(COLOURS[IDS]).save(
    path, save_all=True, lossless=True, append_images=[Image.fromarray(COLOURS[IDS])]
  )
  np.testing.assert_array_equal(ids_of(path), expected)


def test_smoothed_edges_are_refused_with_count_and_cause(tmp_path):
  large = Image.fromarray(np.kron(IDS, np.ones((4, 4), np.uint8)) * 80)
  small = large.resize((100, 70), Image.Resampling.BILINEAR)
  small.save(tmp_path / 'a.png')
  with pytest.raises(UnreadableImage, match=(
    r'a\.png holds \d+ different ids, \d+ of them only in rims or specks a pixel wide between two '
    'others, as smoothed edges or a lossy codec leave them; resize label pictures by nearest'
  )):
    ids_of(tmp_path / 'a.png')
  np.testing.assert_array_equal(read_mask(tmp_path / 'a.png', objects='ids', drawn=False), small)
  numbers = np.kron(np.arange(64, dtype=np.uint8).reshape(8, 8) % 9, np.ones((12, 12), np.uint8))
  numbers[::12] = numbers[:, ::12] = 0
  many = Image.fromarray(numbers)
  many.save(tmp_path / 'b.png')
  np.testing.assert_array_equal(ids_of(tmp_path / 'b.png'), numbers)
  many.resize((150, 150), Image.Resampling.BILINEAR).save(tmp_path / 'b.png')
  with pytest.raises(UnreadableImage, match=r'ids, and \d+ % of its edges are rims a pixel wide'):
    ids_of(tmp_path / 'b.png')


@pytest.mark.parametrize('hidden', [(255, 255, 255), (9, 200, 77)])
def test_a_clear_background_is_background_whatever_its_colour(tmp_path, hidden):
  rgb = COLOURS[IDS]
  rgb[IDS == 0] = hidden
  path = save(tmp_path / 'a.png', clear_outside(rgb, IDS > 0))
  np.testing.assert_array_equal(ids_of(path), np.array(NUMBERS)[IDS])
  noisy = np.random.default_rng(0).integers(1, 20, (*SIZE, 3), dtype=np.uint8)
  rgb = np.where((IDS == 0)[..., None], noisy, COLOURS[IDS])
  path = save(tmp_path / 'b.png', clear_outside(rgb, IDS > 0))
  np.testing.assert_array_equal(ids_of(path), np.array(NUMBERS)[IDS])


def test_alpha_that_leaves_doubts_about_ids_is_dropped_or_refused(tmp_path):
  expected = np.array(NUMBERS)[IDS]
  black = save(tmp_path / 'a.png', clear_outside(COLOURS[IDS], IDS > 0))
  np.testing.assert_array_equal(ids_of(black), expected)
  # There is a background already, so a clear object is an object still.
  one = save(tmp_path / 'b.png', clear_outside(COLOURS[IDS], IDS != 2))
  np.testing.assert_array_equal(ids_of(one), expected)
  white = np.where((IDS == 0)[..., None], 255, COLOURS[IDS]).astype(np.uint8)
  half = (IDS > 0) & (np.arange(SIZE[1]) < 30)
  with pytest.raises(UnreadableImage, match=f'of number {NUMBERS[2]} that are clear and others'):
    ids_of(save(tmp_path / 'c.png', clear_outside(white, half)))


def test_one_colour_in_alpha_is_one_object_where_it_has_a_number(tmp_path):
  white = clear_outside(np.dstack([full(255)] * 3))
  np.testing.assert_array_equal(ids_of(save(tmp_path / 'a.png', white)), LEVELS)
  black = clear_outside(np.dstack([full(0)] * 3))
  with pytest.raises(UnreadableImage, match='is of one number, 0, and its alpha varies'):
    ids_of(save(tmp_path / 'b.png', black))


def quantised(path, ids):
  """Saves ids as a palette that quantising has sorted; returns the index of the background."""
  image = Image.fromarray(COLOURS[ids]).quantize(4)
  image.save(path)
  background = np.asarray(image)[0, 0]
  assert background != 0
  return background


def test_quantised_palettes_are_refused_where_the_background_has_moved(tmp_path):
  background = quantised(tmp_path / 'a.png', IDS)
  with pytest.raises(UnreadableImage, match=f'background has the index {background}, not 0'):
    ids_of(tmp_path / 'a.png')
  colours = [(9, 9, 9), *map(tuple, COLOURS)]
  path = palette_file(tmp_path / 'b.png', IDS + 1, colours)
  with pytest.raises(UnreadableImage, match='background has the index 1, not 0'):
    ids_of(path)


def test_an_object_at_a_corner_hides_no_moved_background(tmp_path):
  ids = IDS.copy()
  ids[-3:, -3:] = 2
  background = quantised(tmp_path / 'a.png', ids)
  with pytest.raises(UnreadableImage, match=f'the index {background}, not 0, .*most of its border'):
    ids_of(tmp_path / 'a.png')


@pytest.mark.parametrize('numbers', [IDS, np.where(IDS == 0, 4, IDS), np.where(IDS == 0, 255, IDS)])
def test_palettes_of_label_pictures_are_left_alone(tmp_path, numbers):
  colours = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128)] + [(9, 9, 9)] * 251
  path = palette_file(tmp_path / 'a.png', numbers, colours)
  np.testing.assert_array_equal(ids_of(path), numbers)


def test_numbers_that_pillow_stretches_or_turns_are_the_stored_ones(tmp_path):
  pgm = tmp_path / 'a.pgm'
  for highest in (3, 200, 255, 1000, 65535):
    raw = IDS if highest < 256 else IDS.astype('>u2')
    pgm.write_bytes(b'P5 %d %d %d\n' % (*SIZE[::-1], highest) + raw.tobytes())
    np.testing.assert_array_equal(ids_of(pgm), IDS)
  ppm = tmp_path / 'a.ppm'
  ppm.write_bytes(b'P6 %d %d 3\n' % SIZE[::-1] + np.dstack([IDS * 0, IDS * 0, IDS]).tobytes())
  np.testing.assert_array_equal(ids_of(ppm), IDS)
  for kind in (np.uint8, np.uint16):
    down = write_tiff(tmp_path / 'a.tif', [IDS.astype(kind)], [(262, 0)])
    np.testing.assert_array_equal(ids_of(down), IDS)
