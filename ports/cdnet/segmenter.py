"""CDNet as a click model: the published network, and the published way of evaluating it."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import jax
import numpy as np

from ports.cdnet import network
from ports.cdnet.diffusion import diffuse
from ports.clicks.maps import Protocol, segmenter
from ports.clicks.zoom import Zoom
from tetris_jax.types import Array, ModelInfo, Params, Segmenter

__all__ = ['ZOOMS', 'cdnet']

# Every click sees 384x384 pixels, the aspect not kept: the whole image where nothing has been found
# yet, else a crop that is chosen anew at every click. Where a mask has vanished, the released
# program pastes the whole image's prediction into the last crop; RClicks' (arXiv 2410.11722) on its
# large pictures does as here and pastes it over the whole image.
ZOOMS = {
  'fixed': Zoom(
    target=(384, 384), skip_clicks=-1, min_crop=10, keep_iou=2.0, threshold=0.49
  )
}

# of the disks that the feature diffusion reads, in network pixels
_WIDE = 24.0


def _forward(
  config: network.Config, params: Params, image: Array, maps: Array, size: Array | None
) -> tuple[jax.Array, tuple[int, int]]:
  if size is not None:
    raise ValueError('CDNet sees squares of one size; choose a Zoom that is fixed')
  logits = network.apply(config, params, image, maps[..., :2], maps[..., 2:]).logits
  return logits, (logits.shape[1], logits.shape[2])


def cdnet(
  params: Mapping[str, np.ndarray],
  sha256: Mapping[str, str],
  *,
  name: str,
  size: str,
  zoom: str = 'fixed',
  disks: str = 'soft',
  flip: bool = True,
) -> Segmenter:
  """CDNet (ICCV 2021) with its zoom-in, flip averaging and pixel diffusion, threshold 0.5.

  The released predictor returns masks, probability above 0.5, whatever threshold it is asked for.

  Args:
    params: flat tree, see `ports.cdnet.weights`.
    sha256: of the file that it came from, by name.
    name: of the model.
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
  info = ModelInfo(name, threshold=0.5, step_diagonal='frame', sha256=dict(sha256))
  forward = functools.partial(_forward, network.CONFIGS[size])
  protocol = Protocol(ZOOMS[zoom], flip, disks, previous=False, more_radii=(_WIDE,))
  finish = lambda image, maps, logits: diffuse(image, logits, maps[..., :2])
  return segmenter(forward, dict(params), info, protocol, finish)
