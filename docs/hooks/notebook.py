"""The notebook, which is kept without its outputs.

Where an executed copy lies in `build/`, the site shows that one, and its last picture on the front
page.
"""

from __future__ import annotations

import json
import pathlib

__all__ = ['EXECUTED', 'KEPT', 'PICTURE', 'front', 'pictures']

_TOP = pathlib.Path(__file__).parents[2]
KEPT = _TOP / 'examples' / 'first_attack.ipynb'
EXECUTED = _TOP / 'build' / KEPT.name
PICTURE = 'first_attack.png'
"""Of the front page."""

_FRONT = f"""![IoU of the mask by where the first click is made]({PICTURE})

*One object of the bundled photographs, MobileSAM: the IoU of the answer by where the first click is
made. [The notebook that drew it]({KEPT.name}).*
"""


def pictures() -> list[str]:
  """PNGs of the executed copy in base64; none where there is no copy, or of another notebook."""
  if not EXECUTED.is_file():
    return []
  kept, made = (json.loads(file.read_text('utf-8'))['cells'] for file in (KEPT, EXECUTED))
  if [''.join(cell['source']) for cell in kept] != [''.join(cell['source']) for cell in made]:
    return []
  shown = [output.get('data', {}) for cell in made for output in cell.get('outputs', ())]
  return [data['image/png'] for data in shown if 'image/png' in data]


def front() -> str:
  """Its last picture; nothing where it was not executed."""
  return _FRONT if pictures() else ''
