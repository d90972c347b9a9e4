"""Mask files as numbers: grey levels or object ids; what can mean two things is refused."""

from __future__ import annotations

import numpy as np

from tetris_jax.data import files, levels, pages, smoothing
from tetris_jax.data.files import Decoded, Source, UnreadableImage, name_of

__all__ = ['read_mask']

# Channels of a grey picture kept as JPEG differ by up to about this much after its chroma rounding.
_GREY_SPREAD = 32
# White of 10, 12, 14 and 15 bits in 16.
_WHITES = (1023, 4095, 16383, 32767)
# Below this share of the range nothing of a mask is an object or ignored.
_DARK = 60
_EXPECTED = (
  'a mask is grey (255 object, 128 ignore, 0 background), '
  "or is read with objects='ids' where its numbers name objects"
)


def read_mask(
  path: Source, *, objects: str = 'binary', drawn: bool = True, largest_side: int = 0
) -> np.ndarray:
  """Reads a mask file as (height, width) int32: grey levels 0 to 255, or object ids.

  With `objects='binary'` the levels are those a viewer shows. 16-bit grey counts as it is while no
  value exceeds 255, as white where it is 0 or all ones of 10, 12, 14 or 15 bits, and by its high
  byte otherwise; floats count from 0 to 1. Of a palette file the colours count while all used ones
  are grey; a coloured palette counts by its indices where they are 0, 128 and 255 with 255 among
  them. Where the colours are one and alpha varies, alpha counts. Any other coloured mask is
  refused: which colour is the object nobody can tell.

  With `objects='ids'` the stored numbers are kept: grey of any depth as it is, also from files with
  fewer bits a pixel, and floats that are whole; palette indices; RGB as one 24-bit number
  red * 65536 + green * 256 + blue, or the level itself where all pixels are grey. Clear pixels are
  background where no other pixel has their numbers and none is 0; alpha is dropped otherwise.
  Lossy codecs are refused, and so are numbers most of which smoothing left at edges (see
  `tetris_jax.data.smoothing`), and palettes by whose colours the background is not 0.

  With either, a file of several pages or frames that differ is refused.

  Args:
    path: of the file, or its bytes.
    objects: 'binary' or 'ids'.
    drawn: whether every id is to be an object as it was drawn; otherwise smoothed edges are read.
    largest_side: in pixels; nothing of a larger file is decoded. 0 for no such limit.

  Raises:
    UnreadableImage: the file is missing, empty, damaged, too large, of another kind, or its values
      have no meaning in this mode.
    ValueError: `objects` is neither 'binary' nor 'ids'.
  """
  if objects not in ('binary', 'ids'):
    raise ValueError(f"objects={objects!r}; expected 'binary' or 'ids'")
  found = files.decoded(path, largest_side=largest_side)
  count, alike = pages.pages(path)
  if not alike:
    raise UnreadableImage(
      f'{name_of(path)} holds {count} pages or frames that differ; which is the mask nobody can '
      'tell: keep one, or number the objects in one'
    )
  return _ids(found, path, drawn) if objects == 'ids' else _levels(found, path)


def _levels(found: Decoded, path: Source) -> np.ndarray:
  image, mode = found.image, found.image.mode
  if mode in files.DEEP_GREY or mode == 'F':
    grey = _deep_levels(found, path)
    # Small numbers are no levels, whichever end is white.
    return 255 - grey if found.about.white_is_zero and grey.max(initial=0) > _DARK else grey
  alpha = files.alpha_of(found)
  varies = alpha is not None and alpha.min() != alpha.max()
  if mode == 'P':
    return _palette_levels(found, path, alpha if varies else None)
  if mode == 'L':
    levels.whole(found, path)
  if mode in ('1', 'L', 'LA', 'La'):
    grey = np.asarray((image.convert('LA') if mode == 'La' else image).convert('L'), np.int32)
    if not varies or int(grey.max()) - int(grey.min()) > _GREY_SPREAD:
      return _kept(grey, found, path)
  rgb = levels.rgb(found, path)
  flat = rgb.reshape(-1, 3)
  if varies and alpha is not None and int((flat.max(0) - flat.min(0)).max()) <= _GREY_SPREAD:
    return alpha.astype(np.int32)
  if int((rgb.max(-1) - rgb.min(-1)).max()) <= _GREY_SPREAD:
    return _kept(_grey_of(rgb), found, path)
  also = ', beside an alpha that varies' if varies else ''
  raise UnreadableImage(f'{name_of(path)} holds colours{also}; {_EXPECTED}')


def _grey_of(rgb: np.ndarray) -> np.ndarray:
  from PIL import Image

  return np.asarray(Image.fromarray(rgb).convert('L'), np.int32)


def _kept(grey: np.ndarray, found: Decoded, path: Source) -> np.ndarray:
  """Levels, unless they are one while the file has a channel more that is not read."""
  if 'X' in found.layout and int(grey.min(initial=0)) == int(grey.max(initial=0)):
    raise UnreadableImage(
      f'{name_of(path)} is of one level and has a channel of no stated meaning, which is not read; '
      'save the mask as grey'
    )
  return grey


def _deep_levels(found: Decoded, path: Source) -> np.ndarray:
  """Levels of grey with more than 8 bits."""
  if found.image.mode == 'F':
    return levels.of_floats(np.asarray(found.image), path).astype(np.int32)
  values = levels.whole(found, path)
  highest = int(values.max(initial=0))
  if highest > 65535:
    raise UnreadableImage(f'{name_of(path)} holds 32-bit grey; a mask has 8 or 16 bits a pixel')
  if highest <= 255:
    return values.astype(np.int32)
  if highest in _WHITES and not ((values != 0) & (values != highest)).any():
    return np.where(values > 0, 255, 0).astype(np.int32)
  if highest >> 8 <= _DARK:
    raise UnreadableImage(
      f'{name_of(path)} holds numbers up to {highest} of 16 bits, where an object would be near '
      f'65535; {_EXPECTED}'
    )
  return (values >> 8).astype(np.int32)


def _palette(found: Decoded) -> tuple[np.ndarray, np.ndarray]:
  """(256, 3) uint8 colours and (256,) int32 levels of the indices of a palette."""
  from PIL import Image

  strip = Image.frombytes('P', (256, 1), bytes(range(256)))
  strip.putpalette(found.image.getpalette('RGB'))
  rgb = strip.convert('RGB')
  return np.asarray(rgb)[0], np.asarray(rgb.convert('L'), np.int32)[0]


def _palette_levels(found: Decoded, path: Source, alpha: np.ndarray | None) -> np.ndarray:
  """Levels of a palette file; `alpha` where it varies."""
  image = found.image
  used = np.flatnonzero(image.histogram()).tolist()
  colours, grey = _palette(found)
  mine = colours[used]
  if alpha is not None and int((mine.max(0) - mine.min(0)).max()) <= _GREY_SPREAD:
    return alpha.astype(np.int32)
  if int((mine.max(-1) - mine.min(-1)).max()) <= _GREY_SPREAD:
    if len(used) > 1 and (mine == mine[0]).all():
      raise UnreadableImage(
        f'{name_of(path)} shows the indices {_some(used)} of its palette in one colour; {_EXPECTED}'
      )
    return grey[np.asarray(image)]
  if 255 in used and set(used) <= {0, 128, 255}:
    return np.asarray(image, np.int32)
  raise UnreadableImage(
    f'{name_of(path)} holds a coloured palette with the indices {_some(used)}; {_EXPECTED}'
  )


def _ids(found: Decoded, path: Source, drawn: bool) -> np.ndarray:
  if found.about.lossy:
    raise UnreadableImage(
      f'{name_of(path)} is a {found.about.lossy}, whose rounding changes object ids; keep such '
      'masks as PNG'
    )
  ids = _unhidden(_stored(found, path), found, path)
  if found.image.mode == 'P':
    _refuse_moved_background(ids, found, path)
  left = smoothing.leftovers(ids) if drawn else None
  if left is not None:
    evidence = (
      f'{left.bad} of them only in rims or specks a pixel wide between two others'
      if 2 * left.bad >= left.numbers
      else f'and {100 * left.rims:.0f} % of its edges are rims a pixel wide between two others'
    )
    raise UnreadableImage(
      f'{name_of(path)} holds {left.numbers} different ids, {evidence}, as smoothed edges or a '
      'lossy codec leave them; resize label pictures by nearest neighbour, draw them without '
      'antialiasing and keep them as PNG'
    )
  return ids


def _stored(found: Decoded, path: Source) -> np.ndarray:
  """(height, width) int32 numbers as the file holds them."""
  image, mode, layout = found.image, found.image.mode, found.layout
  if mode == 'F':
    return _whole_floats(np.asarray(image), path)
  if mode in files.DEEP_GREY or mode == 'L':
    ids = levels.whole(found, path).astype(np.int32)
    if found.about.highest:
      white = 65535 if mode == 'I' else 255
      return np.rint(ids * (found.about.highest / white)).astype(np.int32)
    if mode == 'L' and 'I' in layout and not (ids == 0).any() and (ids == 255).any():
      # Pillow turns a TIFF that counts down from white; its numbers were not meant as levels.
      ids = 255 - ids
    # Pillow stretches 2- and 4-bit grey over 0..255; the stored number is what names the object.
    return ids // {'L;2': 85, 'L;4': 17}.get(layout[:3], 1)
  if '16' in layout:
    raise UnreadableImage(
      f'{name_of(path)} holds 16 bits in each of several channels; ids are read from 8- or 16-bit '
      'grey, palettes and 8-bit RGB'
    )
  if mode in ('1', 'P'):
    return np.asarray(image, np.int32)
  if mode in ('LA', 'La', 'PA'):
    return np.asarray(image, np.int32)[..., 0]
  rgb = np.asarray(levels.to_rgb(image), np.uint8)
  if found.about.highest:
    rgb = np.rint(rgb * (found.about.highest / 255)).astype(np.uint8)
  red, green, blue = np.moveaxis(rgb, -1, 0)
  ids = red.astype(np.int32)
  if np.array_equal(red, green) and np.array_equal(green, blue):
    return ids
  # In place: masks of 12 megapixels are common.
  for channel in (green, blue):
    ids <<= 8
    ids |= channel
  return ids


def _whole_floats(values: np.ndarray, path: Source) -> np.ndarray:
  """Ids of a file of floats, which are whole and not negative."""
  finite = np.isfinite(values)
  lowest = float(values[finite].min(initial=0))
  broken = np.count_nonzero(~finite | (values != np.rint(values)))
  if broken or lowest < 0:
    what = f'{broken} pixels that are no whole numbers' if broken else 'negative values'
    why = 'interpolated labels or probabilities' if broken else 'often a mark of ignored pixels'
    raise UnreadableImage(
      f'{name_of(path)} holds floats with {what}, {why}; ids are whole numbers from 0 on'
    )
  if float(values.max(initial=0)) > 1 << 24:
    raise UnreadableImage(f'{name_of(path)} holds floats above 2**24, which are not exact as ids')
  return values.astype(np.int32)


def _unhidden(ids: np.ndarray, found: Decoded, path: Source) -> np.ndarray:
  """Ids with 0 where the picture is clear, as far as that is certain."""
  alpha = files.alpha_of(found)
  if alpha is None or alpha.min() == alpha.max():
    return ids
  clear = alpha == 0
  behind = smoothing.pixels_of(np.where(clear, ids, 0))[0]
  shown = smoothing.pixels_of(np.where(clear, -1, ids))[0]
  behind, shown = behind[behind > 0], shown[shown >= 0]
  if len(shown) == 1 and set(behind) <= set(shown):
    # One colour everywhere: what is drawn is drawn in alpha.
    if shown[0] == 0 or len(smoothing.pixels_of(alpha)[0]) > 2 or not clear.any():
      raise UnreadableImage(
        f'{name_of(path)} is of one number, {shown[0]}, and its alpha varies; objects drawn in '
        "alpha have no ids: read it with objects='binary', or write the ids as grey levels"
      )
    return np.where(clear, 0, ids)
  if not len(behind) or 0 in shown:
    return ids
  if mixed := sorted(set(behind) & set(shown)):
    raise UnreadableImage(
      f'{name_of(path)} has pixels of number {mixed[0]} that are clear and others that are not; '
      'write 0 where there is no object'
    )
  return np.where(clear, 0, ids)


def _refuse_moved_background(ids: np.ndarray, found: Decoded, path: Source) -> None:
  """Refuses a palette whose colours say that its background is not index 0.

  Quantising sorts a palette anew. Then all four corners have an index whose colour is black, or
  white, or half of the border has one that is black, and that of 0 is another one. 255 is left
  alone: it marks ignored pixels in VOC's manner.
  """
  corners = {int(ids[y, x]) for y in (0, -1) for x in (0, -1)}
  border = np.bincount(np.concatenate([ids[0], ids[-1], ids[:, 0], ids[:, -1]]))
  cornered = len(corners) == 1
  background = corners.pop() if cornered else int(border.argmax())
  # What lies beyond a short palette has no colour.
  if background in (0, 255) or 3 * background >= len(found.image.getpalette('RGB')):
    return
  colours, _ = _palette(found)
  plain = lambda index: tuple(colours[index].tolist())
  black, white = (0, 0, 0), (255, 255, 255)
  zero = plain(0) if (ids == 0).any() else None
  if plain(background) == black:
    along = zero is not None and 2 * border[background] >= border.sum()
    moved = zero != black and (cornered or along)
  else:
    moved = cornered and plain(background) == white and zero not in (None, black, white)
  if moved:
    where = 'at all four corners' if cornered else 'along most of its border'
    raise UnreadableImage(
      f'{name_of(path)} holds a palette whose background has the index {background}, not 0, by its '
      f'colour and {where}, as quantising sorts it; write 0 for the background'
    )


def _some(values: list[int]) -> str:
  shown = ', '.join(str(value) for value in values[:6])
  return f'{shown}, ... ({len(values)} in all)' if len(values) > 6 else shown
