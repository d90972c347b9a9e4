"""A session of a click-map model: two clicks on a picture, on two canvases and with empty slots."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import ritm_golden


def on_two_canvases(model):
  """(logits, probability) in the picture and the state, of both rounds on each canvas."""
  picture = np.random.default_rng(1).random((40, 56, 3), np.float32)
  rows = np.array([(20, 30, 1), (12, 9, 0)])

  @jax.jit
  def step(params, features, state, clicks):
    return model.decode(params, model.prepare(params, features, state), clicks)

  found = []
  for canvas, slots in (((40, 56), 2), ((64, 64), 3)):
    image = np.pad(
      picture, ((0, canvas[0] - 40), (0, canvas[1] - 56), (0, 0)), constant_values=0.5
    )
    features = model.encode(model.params, image, jnp.array([40, 56], jnp.int32))
    state, seen = model.init(model.params, features), []
    for i in range(2):
      clicks = ritm_golden.clicks_of_rows(rows[: i + 1], slots)
      logits, state = step(model.params, features, state, clicks)
      seen.append((np.asarray(logits)[:40, :56], np.asarray(state.probability)[:40, :56], state))
    found.append(seen)
  return found
