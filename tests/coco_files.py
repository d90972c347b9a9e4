"""COCO's annotation files as tools write them: synthetic pictures, and one square in each."""

import json

import numpy as np
from PIL import Image

from tetris_jax import data

SIZE = (20, 30)
SQUARE = [3.0, 4.0, 8.0, 4.0, 8.0, 9.0, 3.0, 9.0]
INSIDE = np.zeros(SIZE, np.bool_)
INSIDE[4:9, 3:8] = True


def image(**changes):
  return {'id': 1, 'file_name': 'a.png', 'height': 20, 'width': 30, **changes}


def annotation(**changes):
  square = {'id': 1, 'image_id': 1, 'category_id': 1, 'iscrowd': 0, 'area': 25.0}
  return {**square, 'bbox': [3, 4, 5, 5], 'segmentation': [SQUARE], **changes}


def without(one, *names):
  return {name: value for name, value in one.items() if name not in names}


def document(annotations, *, images=None, **more):
  held = {'images': [image()] if images is None else images, 'annotations': annotations}
  return {**held, 'categories': [{'id': 1, 'name': 'thing'}], **more}


def save(path, grey=1, size=SIZE, **options):
  path.parent.mkdir(parents=True, exist_ok=True)
  pixels = np.full((*size, 3), grey, np.uint8)
  pixels[-1] = 255  # A picture of one colour has a warning.
  Image.fromarray(pixels).save(path, **options)


def write(root, held, *, pictures=('val2017/a.png',), name='instances_val2017.json'):
  """Writes an annotation file, or its bytes, and pictures that are as grey as their places."""
  (root / 'annotations').mkdir(parents=True, exist_ok=True)
  (root / 'val2017').mkdir(exist_ok=True)
  for place, picture in enumerate(pictures):
    save(root / picture, place + 1)
  content = held if isinstance(held, bytes) else json.dumps(held).encode()
  (root / 'annotations' / name).write_bytes(content)


def opened(root, held, *, pictures=('val2017/a.png',), **options):
  write(root, held, pictures=pictures)
  return data.open_dataset('coco', str(root), **options)


def greys(dataset):
  """Which picture each instance has, by its place in `write`, or why it has none."""
  return [
    one.reason if isinstance(one, data.Rejected) else int(one.image[0, 0, 0]) for one in dataset
  ]
