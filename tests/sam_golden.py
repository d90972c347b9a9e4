"""What tests of the SAM family share: listings of its state dicts, goldens and their pictures."""

from __future__ import annotations

import functools
import gzip
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import golden_weights
import jax
import jax.numpy as jnp
import numpy as np

from ports.sam import vit, weights
from tetris_jax.types import Clicks

FOLDER = pathlib.Path(__file__).parent / 'golden'
REDUCED = vit.Config(width=96, depth=4, heads=3, global_blocks=(1, 3), side=256)
"""The encoder of the `*reduced*` goldens."""

_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
_DEVIATION = np.array([58.395, 57.12, 57.375], np.float32)


@functools.cache
def _listings() -> dict[str, list[Any]]:
  listings = json.loads(gzip.decompress((FOLDER / 'sam_keys.json.gz').read_bytes()))
  mobile = json.loads((FOLDER / 'mobilesam_vit_t.json').read_text())
  return listings | {'mobilesam_vit_t': mobile}


def listing(name: str) -> list[Any]:
  """(name, shape, dtype) of every entry of the reference's state dict."""
  return _listings()[name]


@functools.cache
def state(name: str) -> dict[str, np.ndarray]:
  return golden_weights.golden_state_dict(listing(name))


@functools.cache
def params(name: str) -> dict[str, np.ndarray]:
  """The tree of a listing's made-up weights."""
  hq = name.startswith('samhq')
  if name in ('mobilesam_vit_t', 'samhq_vit_tiny'):
    return weights.mobile_sam_tree(state(name), hq=hq)
  return weights.sam_tree(state(name), config(name), hq=hq)


def config(name: str) -> vit.Config:
  """Of a listing's encoder."""
  size = name.split('_', 1)[1]
  return REDUCED if size == 'reduced' else vit.CONFIGS[size]


def golden(name: str) -> Mapping[str, np.ndarray]:
  with np.load(FOLDER / f'{name}.npz') as file:
    return {key: file[key] for key in file.files if key != 'meta'}


def picture(numbers: Mapping[str, np.ndarray], side: int) -> tuple[np.ndarray, np.ndarray]:
  """The goldens' picture in its frame, normalised and padded, and its (2,) size there."""
  small, repeat = numbers['in/image_small'][0].transpose(1, 2, 0), int(numbers['in/repeat'])
  image = small.repeat(repeat, 0).repeat(repeat, 1)
  size = np.float32(image.shape[:2])
  image = (image - _MEAN) / _DEVIATION
  image = np.pad(image, ((0, side - image.shape[0]), (0, side - image.shape[1]), (0, 0)))
  return image.astype(np.float32), size


def taps(numbers: Mapping[str, np.ndarray]) -> list[str]:
  """Names of the inner tensors that a golden holds."""
  return sorted(key.removeprefix('tap/') for key in numbers if key.startswith('tap/'))


def check_tap(numbers: Mapping[str, np.ndarray], name: str, value: Any, within: float) -> None:
  """Compares an inner tensor, in the reference's order of axes and without its batch."""
  value = np.asarray(value)
  steps = numbers[f'tapstride/{name}'][1:]
  sampled = value[tuple(slice(None, None, step) for step in steps)]
  assert largest(sampled, numbers[f'tap/{name}'][0]) < within, name
  mean, deviation, low, high = numbers[f'tapstats/{name}']
  found = value.mean(), value.std(ddof=1), value.min(), value.max()
  np.testing.assert_allclose(
    found, (mean, deviation, low, high), rtol=0, atol=within * max(-low, high), err_msg=name
  )


def largest(found: Any, wanted: Any) -> float:
  """The largest difference as a share of the largest value."""
  assert np.shape(found) == np.shape(wanted)
  return float(np.abs(np.asarray(found) - wanted).max() / np.abs(wanted).max())


def scalar(logits: jax.Array) -> jax.Array:
  """What the goldens' gradients are of."""
  return jnp.mean(jax.nn.sigmoid(logits) * golden_weights.grad_weight(*logits.shape))


def clicks_of(rows: Any, slots: int) -> Clicks:
  """From rows (y, x, label), the rest of the slots empty."""
  yx, label = np.zeros((slots, 2), np.float32), np.full(slots, -1, np.int32)
  for i, (y, x, kind) in enumerate(rows):
    yx[i], label[i] = (y, x), kind
  return Clicks(jnp.asarray(yx), jnp.asarray(label))
