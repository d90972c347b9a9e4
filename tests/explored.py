"""Heat maps to explore out of thin air: a disk around the click, on a known object."""

import numpy as np
import runs

from tetris_jax.report.heatmaps import picture, summary
from tetris_jax.runs import maps

SIZE, STRIDE = (60, 90), 6
PRESETS = ('tetris', 'strong_v1')


def object_of(size=SIZE):
  """The object: a rectangle."""
  mask = np.zeros(size, bool)
  mask[12:48, 15:75] = True
  return mask


def answer(y, x):
  """What the model answers to a click, at low resolution: a disk that grows to the right."""
  side = maps.MASK_SIDE
  rows, columns = ((2 * np.arange(side) + 1) * length // (2 * side) for length in SIZE)
  return (rows[:, None] - y) ** 2 + (columns[None] - x) ** 2 < (4 + x / 6) ** 2


def arrays():
  """Those of a map, the robot user's click in the middle."""
  legal = object_of()
  inside = np.argwhere(legal)
  lattice = inside[(inside % STRIDE == STRIDE // 2).all(1)]
  yx = np.concatenate([[[29, 44]], lattice]).astype(np.float32)
  iou = (yx[:, 1] / 100 + yx[:, 0] / 1000).astype(np.float32)
  made = {
    'yx': yx, 'iou': iou, 'biou': iou**2, 'predicted': 1 - iou, 'stride': np.int32(STRIDE),
    'legal': legal, 'depth': (yx[:, 0] / SIZE[0]).astype(np.float32),
    'masks': np.stack([np.packbits(answer(*at)) for at in yx]),
  }  # fmt: skip
  for name in PRESETS:
    picked = [0, int(iou.argmin()), int(iou.argmax())]
    made |= {f'{name}/yx': yx[picked], f'{name}/iou': iou[picked], f'{name}/biou': iou[picked]}
    made |= {f'{name}/spent': np.int32([9, 0]), f'{name}/hidden': np.float32(0)}
  return made


def row(number, **changes):
  """The row of such a map."""
  found = runs.map_row(number, 0.1, 0.9 - 0.1 * number, dict.fromkeys(PRESETS, 0.5))
  return found | {'size': list(SIZE)} | changes


def write(folder, rows, photographs=True, **changes):
  """Writes maps and photographs of rows into a folder's maps/, and returns the maps."""
  (folder / 'maps').mkdir(parents=True)
  files = {}
  for number, one in enumerate(rows):
    file = folder / 'maps' / f'{number:05d}_p.png'
    made = {key: value for key, value in (arrays() | changes).items() if value is not None}
    maps.write_map(file.with_suffix('.npz'), made)
    if photographs:
      image = np.full((*SIZE, 3), 120 + 20 * number, np.uint8)
      picture.photograph_of(file).write_bytes(picture.reduced(image, side=800))
    files[one['instance']] = file
  return summary.of_rows('mobile_sam', 'dev', rows, files)
