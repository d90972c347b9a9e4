"""Pages in one file: a template with its style, its script and its data, and no network."""

from __future__ import annotations

import base64
import io
import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from tetris_jax.report import style

__all__ = ['as_data', 'filled', 'jpeg_url']

_HERE = pathlib.Path(__file__).parent
_QUALITY = 80


def filled(template: pathlib.Path, parts: Mapping[str, str]) -> str:
  """A template with parts in the places of their names, {{NAME}}.

  Those of all pages are there already: STYLE, how they look, and HELPERS, what scripts share.

  Args:
    template: of the page.
    parts: by name, in capitals; put in as they are.
  """
  shared = {
    'STYLE': (_HERE / 'shared.css').read_text('utf-8'),
    'HELPERS': (_HERE / 'shared.js').read_text('utf-8'),
  }
  held = {**shared, **parts}
  # At once: what is put in may look like a place of its own.
  return re.sub(r'{{(\w+)}}', lambda place: held[place[1]], template.read_text('utf-8'))


def as_data(tree: Any) -> str:
  """A tree of numbers and texts as JSON that may stand in a script element.

  Raises:
    ValueError: a number is not finite.
  """
  text = json.dumps(_plain(tree), allow_nan=False, separators=(',', ':'))
  # No text of a file name or a reason may end the element.
  return text.replace('<', '\\u003c')


def _plain(tree: Any) -> Any:
  """The same tree with texts that UTF-8 can hold; half a pair of surrogates ends some browsers."""
  if isinstance(tree, Mapping):
    return {style.plain(key): _plain(value) for key, value in tree.items()}
  if isinstance(tree, (list, tuple)):
    return [_plain(value) for value in tree]
  return style.plain(tree) if isinstance(tree, str) else tree


def jpeg_url(image: Any, *, width: int) -> str:
  """A picture of Pillow as the address of a JPEG file in itself.

  Args:
    image: the picture.
    width: in pixels, that it may have at most.
  """
  from PIL import Image

  rgb = image.convert('RGB')
  if rgb.width > width:
    height = max(1, round(rgb.height * width / rgb.width))
    rgb = rgb.resize((width, height), Image.Resampling.LANCZOS)
  encoded = io.BytesIO()
  rgb.save(encoded, 'JPEG', quality=_QUALITY, optimize=True)
  return 'data:image/jpeg;base64,' + base64.b64encode(encoded.getvalue()).decode()
