"""What tests of the DeepLab families share: listings, goldens, clicks, and networks of toy size."""

from __future__ import annotations

import functools
import gzip
import json
import pathlib
import re
from typing import Any

import golden_weights
import numpy as np

from ports.nn import resnet

FOLDER = pathlib.Path(__file__).parent / 'golden'

TOY = resnet.Config((1, 1, 1, 1), False, 8)
"""A ResNet with a plain stem and blocks of two convolutions."""

TOY_DEEP = resnet.Config((1, 1, 1, 1), True, 8)
"""A ResNet with a stem of three convolutions and with bottlenecks."""


@functools.cache
def listing(variant: str) -> list[Any]:
  """(name, shape, dtype) of every entry of the reference's state dict."""
  return json.loads(gzip.decompress((FOLDER / 'deeplab_keys.json.gz').read_bytes()))[variant]


@functools.cache
def state(variant: str) -> dict[str, np.ndarray]:
  return golden_weights.golden_state_dict(listing(variant))


def reduced(variant: str, narrower: int) -> dict[str, np.ndarray]:
  """A made-up state dict as of one block a stage, the ResNet and the decoder narrower."""

  def side(size: int) -> int:
    if size in (160, 288):   # deep features beside 32 of the first stage's
      return (size - 32) // narrower + 32
    return size // narrower if size % 64 == 0 else size

  rows = []
  for name, shape, dtype in listing(variant):
    if re.search(r'\.layer\d\.[1-9]\.', name):
      continue
    same = re.match(r'(omega|theta|u_mlp|logsigma2)', name)
    rows.append((name, shape if same else [side(size) for size in shape], dtype))
  return golden_weights.golden_state_dict(rows)


def toy_params(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, np.ndarray]:
  """Made-up parameters of about one over the root of what they sum up."""
  rng = np.random.default_rng(seed)
  found = {}
  for name, shape in shapes.items():
    fan = np.prod(shape[:-1]) / 2 if name.endswith('kernel') else 100
    found[name] = rng.standard_normal(shape, np.float32) / np.float32(np.sqrt(fan))
  return found


def largest(found: Any, wanted: np.ndarray) -> float:
  """Largest difference, of the largest value."""
  assert np.shape(found) == np.shape(wanted)
  return float(np.abs(np.asarray(found) - wanted).max() / np.abs(wanted).max())


def check_taps(golden: Any, taps: dict[str, Any], bound: float) -> None:
  """Inner tensors (batch, h, w, channels) against those of a golden, channels first."""
  names = [key.removeprefix('tap/') for key in golden.files if key.startswith('tap/')]
  assert len(names) >= 5
  for name in names:
    x = np.asarray(taps[name]).transpose(0, 3, 1, 2)
    strides = tuple(slice(None, None, int(step)) for step in golden[f'tapstride/{name}'])
    assert largest(x[strides], golden[f'tap/{name}']) < bound, name
    statistics = [x.mean(), x.std(ddof=1), x.min(), x.max()]
    assert largest(statistics, golden[f'tapstats/{name}']) < bound, name


def check_gradient(found: np.ndarray, wanted: np.ndarray) -> None:
  """Gradients by maps, of networks with kinks."""
  found, wanted = np.ravel(found), np.ravel(wanted)
  assert np.linalg.norm(found - wanted) < 2e-2 * np.linalg.norm(wanted)
  assert found @ wanted > 0.999 * np.linalg.norm(found) * np.linalg.norm(wanted)
