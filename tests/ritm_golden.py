"""What tests of RITM share: listings of its state dicts, and clicks as the goldens hold them."""

from __future__ import annotations

import functools
import gzip
import json
import pathlib
from typing import Any

import golden_weights
import jax.numpy as jnp
import numpy as np

from ports.hrnet import weights
from ports.ritm.segmenter import VARIANTS
from tetris_jax.types import Clicks

FOLDER = pathlib.Path(__file__).parent / 'golden'
NAMES = {
  'h18s': 'hrnet18s_itermask', 'h18': 'hrnet18_itermask', 'h18_baseline': 'hrnet18_baseline',
  'h32': 'hrnet32_itermask',
}


def listing(size: str) -> list[Any]:
  """(name, shape, dtype) of every entry of the reference's state dict."""
  keys = json.loads(gzip.decompress((FOLDER / 'ritm_keys.json.gz').read_bytes()))
  return keys[NAMES[size]]


@functools.cache
def state(size: str) -> dict[str, np.ndarray]:
  return golden_weights.golden_state_dict(listing(size))


@functools.cache
def params(size: str) -> dict[str, np.ndarray]:
  return weights.tree(state(size), VARIANTS[size])


def clicks_of_points(points: np.ndarray) -> Clicks:
  """From (2 N, 3) rows (row, column, order): N positive, then N negative, -1 for none."""
  count = len(points) // 2
  label = np.repeat(np.array([1, 0], np.int32), count)
  label = np.where(points[:, :2].max(axis=1) < 0, np.int32(-1), label)
  return Clicks(jnp.asarray(points[:, :2]), jnp.asarray(label))


def clicks_of_rows(rows: np.ndarray, slots: int = 5) -> Clicks:
  """From (n, 3) rows (row, column, is positive), the rest of the slots empty."""
  yx, label = np.zeros((slots, 2), np.float32), np.full(slots, -1, np.int32)
  yx[: len(rows)], label[: len(rows)] = rows[:, :2], rows[:, 2]
  return Clicks(jnp.asarray(yx), jnp.asarray(label))
