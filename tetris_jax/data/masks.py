"""Masks of one object as the reference loaders read them, and what such a loader would misread.

The loaders look at the colours that `cv2.imread` gives. Where a file's colours do not hold what its
author drew, that is a wrong object without a word; here it is refused, or taken where only one
thing can be meant.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from tetris_jax.data import files, headers, images, labels

__all__ = ['nonzero', 'trimap']


def trimap(path: pathlib.Path) -> np.ndarray:
  """(height, width) int32 labels: 1 where blue is above 128, IGNORED where it is 128.

  Raises:
    images.UnreadableImage: as `images.read_picture`, or its colours do not tell.
  """
  rgb = images.read_picture(path)
  with files.header(path) as (held, file):
    # What a lossy codec makes of an edge is in part above 128, and 128 itself now and then.
    _check(path, held, file, rgb, lambda level: (level > 64) & (level < 192) & (level != 128))
    if _is_deep(held):
      rgb = images.read_mask(path)[..., None]
  blue = rgb[..., -1]
  found: np.ndarray = (blue > 128).astype(np.int32)
  found[blue == 128] = labels.IGNORED
  return found


def nonzero(path: pathlib.Path) -> np.ndarray:
  """(height, width) int32 labels: 1 where any channel is above 0.

  Raises:
    images.UnreadableImage: as `images.read_picture`, or its colours do not tell.
  """
  rgb = images.read_picture(path)
  with files.header(path) as (held, file):
    _check(path, held, file, rgb, lambda level: (level > 0) & (level < 128))
    if _is_deep(held) or (held.mode == 'P' and _is_numbered(path, held)):
      rgb = images.read_mask(path, objects='ids', drawn=False)[..., None]
  return (rgb.max(-1) > 0).astype(np.int32)


def _name(path: pathlib.Path) -> str:
  return f'{path.parent.name}/{path.name}'


def _is_deep(held: Any) -> bool:
  return str(held.mode).startswith('I')


def _is_lossy(held: Any, file: IO[bytes]) -> bool:
  # Of WebP inside a TIFF nothing tells which of its codecs it is.
  webp = held.format == 'TIFF' and held.info.get('compression') == 'webp'
  return webp or bool(headers.about(held, file).lossy)


def _check(
  path: pathlib.Path,
  held: Any,
  file: IO[bytes],
  rgb: np.ndarray,
  odd: Callable[[np.ndarray], np.ndarray],
) -> None:
  """Raises UnreadableImage where colours are not what was drawn.

  Args:
    path: of the file.
    held: it, opened by Pillow.
    file: it, open.
    rgb: its colours.
    odd: levels -> which of them a lossless mask does not have.
  """
  count = len(np.unique(rgb.max(-1))) if _is_lossy(held, file) else 0
  if count and odd(rgb.max(-1)).any():
    raise images.UnreadableImage(
      f'{_name(path)} is a lossy {held.format} with {count} different levels: its rounding makes '
      'an object of pixels beside the object; keep masks as PNG, or read a folder of them with '
      'dataset=folder, which leaves room for that'
    )


def _is_numbered(path: pathlib.Path, held: Any) -> bool:
  """Whether a palette file's indices are the mask, since all its colours are black.

  Raises:
    images.UnreadableImage: some are, so that one index is lost by colours, or won by numbers.
  """
  index = np.asarray(held)
  colours = np.asarray((held.getpalette('RGB') or []) + [0] * 768, np.uint8)[:768].reshape(256, 3)
  used = np.unique(index)
  black = used[~colours[used].any(-1)].tolist()
  if len(black) > 1 and len(black) < len(used):
    raise images.UnreadableImage(
      f'{_name(path)}: the indices {", ".join(map(str, black))} of its palette are all black, so '
      'that its colours lose an object or its numbers make one of the background; give each '
      'object a colour'
    )
  return len(black) > 1
