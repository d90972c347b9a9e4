"""A click model that needs no weights, for tests of what runs around a model."""

from __future__ import annotations

import os
import pathlib
import time

import jax.numpy as jnp
import numpy as np

from tetris_jax import types

MODELS = {'toy': 'a disk around the mean positive click'}


def segmenter(name: str = 'toy', weights: object = None) -> types.Segmenter:
  """Logits of a disk around the mean positive click, smaller where the picture is dark there.

  A negative click pushes the logits down around itself.
  """
  del weights

  def encode(params, image, size):
    del params
    height, width = image.shape[:2]
    rows, columns = (jnp.arange(side, dtype=jnp.int32) for side in (height, width))
    inside = (rows[:, None] < size[0]) & (columns[None, :] < size[1])
    # Below any brightness, so that decode can leave the padding out: no answer hangs on the canvas.
    return jnp.where(inside, image.mean(-1), -1.0)

  def init(params, features):
    del params, features
    return ()

  def decode(params, context, clicks):
    features, state = context
    height, width = features.shape
    positive = (clicks.label == types.POSITIVE).astype(jnp.float32)
    negative = (clicks.label == types.NEGATIVE).astype(jnp.float32)
    total = jnp.maximum(positive.sum(), 1.0)
    centre = (clicks.yx * positive[:, None]).sum(0) / total
    y = jnp.arange(height, dtype=jnp.float32)[:, None]
    x = jnp.arange(width, dtype=jnp.float32)[None, :]
    near = jnp.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / 200.0)
    near = jnp.where(features >= 0, near, 0.0)
    brightness = (features * near).sum() / near.sum()
    radius = params['radius'] * (0.5 + brightness) + 2.0 * (total - 1.0)
    logits = radius - jnp.sqrt((y - centre[0]) ** 2 + (x - centre[1]) ** 2 + 1e-6)
    for yx, weight in zip(clicks.yx, negative, strict=True):
      squared = (y - yx[0]) ** 2 + (x - yx[1]) ** 2
      logits = logits - 8.0 * weight * jnp.exp(-squared / 50.0)
    return logits, state

  params = {'radius': np.float32(15.0)}
  info = types.ModelInfo(name, sha256={'toy': 'none'})
  return types.Segmenter(encode, init, decode, params, info)


def options(name: str) -> dict[str, tuple[str, ...]]:
  """None to choose."""
  del name
  return {}


def cache_dir() -> pathlib.Path:
  """Where the tests let compiled programs be kept."""
  return pathlib.Path(os.environ['TETRIS_CACHE'])


def write_folder(root: pathlib.Path, sizes: tuple[tuple[int, int], ...], seed: int = 0) -> None:
  """Writes pictures p0, p1, ... of sizes (height, width), an ellipse in each, and their masks."""
  from PIL import Image

  rng = np.random.default_rng(seed)
  for folder in ('images', 'masks'):
    (root / folder).mkdir(parents=True)
  for number, (height, width) in enumerate(sizes):
    y, x = np.mgrid[:height, :width]
    image = rng.uniform(0, 90, (height, width, 3)) + 120 * (x / width)[..., None]
    centre, radii = rng.uniform(0.4, 0.6, 2), rng.uniform(0.2, 0.3, 2)
    down, right = (y / height - centre[0]) / radii[0], (x / width - centre[1]) / radii[1]
    mask = down**2 + right**2 < 1
    image[mask] += 40
    Image.fromarray(image.astype(np.uint8)).save(root / 'images' / f'p{number}.png')
    Image.fromarray(mask.astype(np.uint8) * 255).save(root / 'masks' / f'p{number}.png')


def wait(there) -> None:
  """Until something is there, such as what another thread does; at most a minute."""
  end = time.monotonic() + 60
  while not there() and time.monotonic() < end:
    time.sleep(0.02)
