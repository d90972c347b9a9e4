"""AdaptiveClick as a click model: the released sizes, and the ways of evaluating them."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import jax
import numpy as np

from ports.adaptiveclick import network
from ports.clicks.maps import Protocol, segmenter
from ports.clicks.zoom import Zoom
from tetris_jax.types import Array, ModelInfo, Params, Segmenter

__all__ = ['ZOOMS', 'adaptiveclick']

# As SimpleClick's: every click sees one square, the aspect not kept; 672 pixels on DAVIS.
ZOOMS = {
  'fixed': Zoom(target=(448, 448), skip_clicks=-1),
  'fixed_672': Zoom(target=(672, 672), skip_clicks=-1),
}


def _forward(
  config: network.Config, params: Params, image: Array, maps: Array, size: Array | None
) -> tuple[jax.Array, tuple[int, int]]:
  if size is not None:
    raise ValueError('AdaptiveClick sees squares of one size; choose a Zoom that is fixed')

  def one(image: Array, maps: Array) -> jax.Array:
    return network.decode(config, params, network.prepare(config, params, image), maps)

  logits = jax.vmap(one)(image, maps)
  return logits, (logits.shape[1], logits.shape[2])


def adaptiveclick(
  params: Mapping[str, np.ndarray],
  sha256: Mapping[str, str],
  *,
  name: str,
  size: str,
  zoom: str = 'fixed',
  disks: str = 'soft',
  flip: bool = True,
) -> Segmenter:
  """AdaptiveClick (arXiv 2305.04276) with its zoom-in and flip averaging, threshold 0.49.

  Args:
    params: flat tree, see `ports.adaptiveclick.weights`.
    sha256: of the file that it came from, by name.
    name: of the model; a zoom that is not "fixed" is appended.
    size: key of `network.CONFIGS`.
    zoom: key of `ZOOMS`.
    disks: "soft" for attacks, "hard" for the standard evaluation; see `ports.clicks.maps.Protocol`.
    flip: whether logits are averaged with those of the mirrored image.

  Returns:
    The segmenter.

  Raises:
    ValueError: an unknown size, zoom or kind of disk.
  """
  for what, value, known in (('size', size, network.CONFIGS), ('zoom', zoom, ZOOMS)):
    if value not in known:
      raise ValueError(f'{what} is {value!r}; known: {", ".join(known)}')
  full = name if zoom == 'fixed' else f'{name}_{zoom}'
  info = ModelInfo(full, threshold=0.49, step_diagonal='frame', sha256=dict(sha256))
  forward = functools.partial(_forward, network.CONFIGS[size])
  return segmenter(forward, dict(params), info, Protocol(ZOOMS[zoom], flip, disks))
