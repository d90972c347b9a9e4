"""SimpleClick as a click model: the published sizes, and the published ways of evaluating them."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import jax
import numpy as np

from ports import choices
from ports.clicks import evaluation
from ports.clicks.cascade import cascaded
from ports.clicks.maps import Protocol, segmenter
from ports.simpleclick import network
from tetris_jax.types import Array, Params, Segmenter

__all__ = ['ZOOMS', 'simpleclick']

# Every click sees one square, the aspect not kept: 448 pixels, or 672 on DAVIS.
ZOOMS = {'fixed': evaluation.square(448), 'fixed_672': evaluation.square(672)}


def _forward(
  config: network.Config, params: Params, image: Array, maps: Array, size: Array | None
) -> tuple[jax.Array, tuple[int, int]]:
  evaluation.only_squares('SimpleClick', size)
  apply = functools.partial(network.apply, config, params)
  logits = jax.vmap(apply)(image, maps)
  return logits, (logits.shape[1], logits.shape[2])


def simpleclick(
  params: Mapping[str, np.ndarray],
  sha256: Mapping[str, str],
  *,
  name: str,
  size: str,
  zoom: str = 'fixed',
  disks: str = 'soft',
  flip: bool = True,
  cascade: str = 'none',
) -> Segmenter:
  """SimpleClick (arXiv 2210.11006) with its zoom-in and flip averaging, threshold 0.49.

  Args:
    params: flat tree, see `ports.simpleclick.weights`.
    sha256: of the file that it came from, by name.
    name: of the model; a zoom that is not "fixed" is appended.
    size: key of `network.CONFIGS`.
    zoom: key of `ZOOMS`.
    disks: "soft" for attacks, "hard" for the standard evaluation; see `ports.clicks.maps.Protocol`.
    flip: whether logits are averaged with those of the mirrored image.
    cascade: key of `ports.clicks.cascade.CASCADES`.

  Returns:
    The segmenter.

  Raises:
    ValueError: an unknown size, zoom, kind of disk or cascade.
  """
  choices.check('size', size, network.CONFIGS)
  info = evaluation.told(name, sha256, zoom, ZOOMS)
  forward = functools.partial(_forward, network.CONFIGS[size])
  protocol = Protocol(ZOOMS[zoom], flip, disks)
  return cascaded(segmenter(forward, dict(params), info, protocol), cascade)
