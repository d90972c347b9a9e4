"""What tests of FocalClick share: listings of its state dicts, parameters, goldens."""

from __future__ import annotations

import functools
import gzip
import json
import pathlib
from typing import Any

import golden_weights
import numpy as np

from ports.focalclick import network, weights

FOLDER = pathlib.Path(__file__).parent / 'golden'


def listing(size: str) -> list[Any]:
  """(name, shape, dtype) of the reference's state dict; both scales have the same."""
  keys = json.loads(gzip.decompress((FOLDER / 'focalclick_keys.json.gz').read_bytes()))
  return keys[size.replace('_s1', '_s2')]


@functools.cache
def state(size: str) -> dict[str, np.ndarray]:
  return golden_weights.golden_state_dict(listing(size))


@functools.cache
def params(size: str) -> dict[str, np.ndarray]:
  return weights.tree(state(size), network.VARIANTS[size])


def load(size: str) -> Any:
  return np.load(FOLDER / f'focalclick_{size}_128.npz')
