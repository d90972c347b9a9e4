"""AdaptiveClick as a click model: the released sizes, and the ways of evaluating them."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import jax
import numpy as np

from ports import choices
from ports.adaptiveclick import network
from ports.clicks import evaluation
from ports.clicks.maps import Protocol, segmenter
from tetris_jax.types import Array, Params, Segmenter

__all__ = ['ZOOMS', 'adaptiveclick']

# As SimpleClick's: every click sees one square, the aspect not kept; 672 pixels on DAVIS.
ZOOMS = {'fixed': evaluation.square(448), 'fixed_672': evaluation.square(672)}


def _forward(
  config: network.Config, params: Params, image: Array, maps: Array, size: Array | None
) -> tuple[jax.Array, tuple[int, int]]:
  evaluation.only_squares('AdaptiveClick', size)
  apply = functools.partial(network.apply, config, params)
  logits = jax.vmap(apply)(image, maps)
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
  choices.check('size', size, network.CONFIGS)
  info = evaluation.told(name, sha256, zoom, ZOOMS)
  forward = functools.partial(_forward, network.CONFIGS[size])
  return segmenter(forward, dict(params), info, Protocol(ZOOMS[zoom], flip, disks))
