"""Deformable attention against a loop over tokens, heads, levels and points."""

import functools

import deeplab_golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ports.adaptiveclick import deformable
from ports.nn import trees

SIZES = ((2, 3), (4, 5))


def by_hand(params, query, source):
  heads, points, width = 2, 3, 4
  linear = lambda name, x: x @ params[f'{name}/kernel'] + params[f'{name}/bias']
  offsets = linear('sampling_offsets', query).reshape(-1, heads, 2, points, 2)
  weights = linear('attention_weights', query).reshape(-1, heads, 2 * points)
  weights = np.exp(weights) / np.exp(weights).sum(-1, keepdims=True)
  weights = weights.reshape(-1, heads, 2, points)
  value = linear('value_proj', source).reshape(-1, heads, width // heads)
  centres = [((x + 0.5) / w, (y + 0.5) / h) for h, w in SIZES for y in range(h) for x in range(w)]
  found = np.zeros((len(query), heads, width // heads))
  for token, head, level, point in np.ndindex(len(query), heads, 2, points):
    (h, w), start = SIZES[level], 0 if level == 0 else 6
    dx, dy = offsets[token, head, level, point]
    x = (centres[token][0] + dx / w) * w - 0.5
    y = (centres[token][1] + dy / h) * h - 0.5
    for j in (int(np.floor(y)), int(np.floor(y)) + 1):
      for i in (int(np.floor(x)), int(np.floor(x)) + 1):
        if 0 <= j < h and 0 <= i < w:
          share = (1 - abs(x - i)) * (1 - abs(y - j)) * weights[token, head, level, point]
          found[token, head] += share * value[start + j * w + i, head]
  return linear('output_proj', found.reshape(-1, width))


@pytest.mark.slow
def test_it_is_the_loop_and_has_its_gradient():
  module = trees.define(
    functools.partial(lambda rngs: deformable.DeformableAttention(4, 2, 2, 3, rngs))
  )
  params = deeplab_golden.toy_params(dict(module.shapes))
  # far enough that some samples lie outside
  params['sampling_offsets/bias'] = 20 * params['sampling_offsets/bias']
  rng = np.random.default_rng(0)
  query, source = (rng.standard_normal((26, 4), np.float32) for _ in range(2))
  run = lambda query, source: trees.bind(module, params)(query, source, SIZES)
  np.testing.assert_allclose(run(query, source), by_hand(params, query, source), atol=1e-5)
  slope = jax.grad(lambda q: jnp.sum(run(q, source)))(query)
  way = rng.standard_normal(query.shape) * 1e-4
  ends = [by_hand(params, query + side * way, source).sum() for side in (-1, 1)]
  gain = (ends[1] - ends[0]) / 2
  np.testing.assert_allclose(np.sum(np.asarray(slope) * way), gain, rtol=2e-2, atol=1e-6)


def test_places_are_pixel_centres_level_after_level():
  found = deformable.places(SIZES)
  assert found.shape == (26, 2)
  np.testing.assert_allclose(found[1], [1.5 / 3, 0.5 / 2])
  np.testing.assert_allclose(found[6 + 5 + 2], [2.5 / 5, 1.5 / 4])
