"""What tests of AdaptiveClick share: listings, goldens, and a reduced network."""

from __future__ import annotations

import functools
import gzip
import json
import pathlib
from typing import Any

import golden_weights
import numpy as np

from ports.adaptiveclick import network, weights
from ports.simpleclick import network as simpleclick

FOLDER = pathlib.Path(__file__).parent / 'golden'

REDUCED = network.Config(
  simpleclick.Config(96, 8, 3, 16, 28, (16, 24, 32, 48), 64), 64, 32, 64, 2, 128, 5, 5
)
CONFIGS = {'reduced': REDUCED} | network.CONFIGS


@functools.cache
def listing(size: str) -> list[Any]:
  """(name, shape, dtype) of every entry of the reference's state dict."""
  keys = json.loads(gzip.decompress((FOLDER / 'adaptiveclick_keys.json.gz').read_bytes()))
  return keys[f'adaptiveclick_{size}']


@functools.cache
def state(size: str) -> dict[str, np.ndarray]:
  """Made-up weights; the queries' are larger, as otherwise all of them come out alike."""
  found = golden_weights.golden_state_dict(listing(size))
  for name in ('query_feat', 'query_embed'):
    key = f'click_aware_decoder.{name}.weight'
    found[key] = found[key] * np.float32(8 if size == 'reduced' else 16)
  return found


@functools.cache
def params(size: str) -> dict[str, np.ndarray]:
  return weights.tree(state(size), CONFIGS[size])
