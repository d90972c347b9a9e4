"""Final masks of attacks as COCO's annotations and results, in run lengths; needs pycocotools.

COCO(annotations).loadRes(results) reads them. Objects have no classes here: all are of category 1.
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tetris_jax.report.attack import masks
from tetris_jax.report.summaries import measured
from tetris_jax.runs.merge import Piece, Run
from tetris_jax.scores.table import ORDER

__all__ = ['find_masks', 'image_ids', 'objects', 'results']

_CATEGORY = 1
# COCO's pictures are called by their ids, and its instances here by picture and annotation.
_COCO_NAME = re.compile(r'([0-9]{1,15})#([0-9]{1,15})')

_Files = Mapping[str, Mapping[str, pathlib.Path]]


def find_masks(pieces: Sequence[Piece]) -> dict[str, dict[str, pathlib.Path]]:
  """Files of the masks of a run, by instance and then by mode or "truth".

  Args:
    pieces: all its work folders.

  Raises:
    WorkdirError: a folder of masks is a link.
  """
  found: dict[str, dict[str, pathlib.Path]] = {}
  for piece in pieces:
    own = {row['instance'] for row in measured(piece.rows)}
    kept = masks.find(piece.folder / 'masks', [name for name, _ in piece.instances])
    found |= {name: some for name, some in kept.items() if name in own}
  return found


def image_ids(run: Run) -> dict[str, tuple[int, int]]:
  """Ids of picture and annotation of every instance, by name.

  They are COCO's own where every instance is called as those of COCO are, "picture#annotation",
  both numbers; else each instance is a picture of its own, numbered from 1.
  """
  names = [name for name, _ in run.instances]
  own = [_COCO_NAME.fullmatch(name) for name in names]
  if names and all(own):
    return {
      name: (int(found[1]), int(found[2]))
      for name, found in zip(names, own, strict=True)
      if found is not None
    }
  return {name: (number, number) for number, name in enumerate(names, 1)}


def _run_lengths(mask: np.ndarray) -> dict[str, Any]:
  from pycocotools import mask as coco

  made = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
  return {'size': [int(side) for side in made['size']], 'counts': made['counts'].decode('ascii')}


def _box(mask: np.ndarray) -> list[int]:
  """[x, y, width, height] of what is set."""
  rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
  if not len(rows):
    return [0, 0, 0, 0]
  size = columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1
  return [int(value) for value in (columns[0], rows[0], *size)]


def objects(run: Run, files: _Files) -> dict[str, Any]:
  """The objects that were attacked, as COCO's annotations.

  Args:
    run: a whole run.
    files: of its masks; instances without are left out.

  Returns:
    "info", "images", "categories" and "annotations"; of these each also has its "instance" and,
    where there are any, the pixels that no metric counts as "ignored".

  Raises:
    WorkdirError: a file is damaged.
  """
  ids = image_ids(run)
  images: dict[int, dict[str, Any]] = {}
  found = []
  for row in measured(run.rows):
    name, (height, width) = row['instance'], row['size']
    if masks.TRUTH not in files.get(name, {}):
      continue
    mask, ignored = masks.decode_truth(files[name][masks.TRUTH], row['size'])
    image_id, number = ids[name]
    called = name.partition('#')[0] if image_id != number else name
    image = {'id': image_id, 'file_name': called, 'height': height, 'width': width}
    images.setdefault(image_id, image)
    found.append({
      'id': number, 'image_id': image_id, 'category_id': _CATEGORY, 'iscrowd': 0,
      'segmentation': _run_lengths(mask), 'area': int(mask.sum()), 'bbox': _box(mask),
      'instance': name, **({'ignored': _run_lengths(ignored)} if ignored.any() else {}),
    })  # fmt: skip
  categories = [{'id': _CATEGORY, 'name': 'object'}]
  info = {'description': f'Objects of {run.dataset}, as attacked'}
  return {
    'info': info, 'images': [*images.values()], 'categories': categories, 'annotations': found
  }  # fmt: skip


def results(run: Run, files: _Files, mode: str) -> list[dict[str, Any]] | None:
  """The masks after the last click of a mode, as COCO's results.

  Args:
    run: a whole run.
    files: of its masks; instances without are left out.
    mode: "min", "base" or "max".

  Returns:
    One an instance, with its "instance" and its "iou" beside what COCO asks for; every "score" is
    1. None where the mode was not run.

  Raises:
    WorkdirError: a file is damaged.
  """
  if mode not in ORDER:
    raise ValueError(f'mode is {mode!r}; one of {", ".join(ORDER)}')
  rows = [row for row in measured(run.rows) if row['iou'][mode] is not None]
  if not rows:
    return None
  ids = image_ids(run)
  found = []
  for row in (row for row in rows if mode in files.get(row['instance'], {})):
    mask = masks.decode_mask(files[row['instance']][mode], row['size'])
    found.append({
      'image_id': ids[row['instance']][0], 'category_id': _CATEGORY,
      'segmentation': _run_lengths(mask), 'bbox': _box(mask), 'score': 1.0,
      'instance': row['instance'], 'iou': row['iou'][mode][-1],
    })  # fmt: skip
  return found
