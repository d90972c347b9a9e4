"""What tests of SAM 2 share: listings of its state dicts, goldens, and a network of toy size."""

from __future__ import annotations

import functools
import gzip
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import golden_weights
import numpy as np

from ports.sam2 import hiera, network, weights

FOLDER = pathlib.Path(__file__).parent / 'golden'

CASES = [
  ('sam2_hiera_tiny_256', 'sam2_hiera_tiny'),
  ('sam2.1_hiera_tiny_256', 'sam2.1_hiera_tiny'),
  ('sam2.1_hiera_base_plus_256', 'sam2.1_hiera_base_plus'),
  ('sam2.1_hiera_tiny_1024', 'sam2.1_hiera_tiny'),
]
"""Goldens of the networks, and the variant that each is of."""

TOY = hiera.Config(8, 1, (1, 1, 2, 1), (3,), 3, (4, 2, 6, 3))
"""An encoder whose windows fill no grid evenly, and which attends everywhere in one block."""

_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


@functools.cache
def listings() -> dict[str, list[Any]]:
  """(name, shape, dtype) of every entry of the references' state dicts, by variant."""
  return json.loads(gzip.decompress((FOLDER / 'sam2_keys.json.gz').read_bytes()))


@functools.cache
def state(variant: str) -> dict[str, np.ndarray]:
  return golden_weights.golden_state_dict(listings()[variant])


@functools.cache
def params(variant: str) -> dict[str, np.ndarray]:
  """The tree of a variant's made-up weights."""
  return weights.tree(state(variant), hiera.CONFIGS[variant.split('_hiera_')[1]])


@functools.cache
def toy_params() -> dict[str, np.ndarray]:
  """Made-up parameters of a model with the encoder `TOY`, in the tree's layout."""
  rng = np.random.default_rng(0)
  found = {}
  for name, shape in network.shapes(TOY).items():
    drawn = rng.standard_normal(shape, np.float32)
    leaf = name.rpartition('/')[2]
    if leaf == 'kernel':
      drawn = drawn / np.float32(np.sqrt(np.prod(shape[:-1])))
    found[name] = 1 + drawn / 10 if leaf == 'scale' else drawn if leaf == 'kernel' else drawn / 2
  return found


def picture(numbers: Mapping[str, np.ndarray]) -> np.ndarray:
  """The goldens' picture, normalised."""
  small, repeat = numbers['in/image_small'][0].transpose(1, 2, 0), int(numbers['in/repeat'])
  return (small.repeat(repeat, 0).repeat(repeat, 1) - _MEAN) / _DEVIATION
