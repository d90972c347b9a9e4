"""RITM as a click model: the published sizes, and the published ways of evaluating them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ports import choices
from ports.clicks import evaluation
from ports.clicks.cascade import cascaded
from ports.clicks.maps import Protocol, segmenter
from ports.clicks.zoom import Zoom
from ports.hrnet import network
from tetris_jax.types import Array, Params, Segmenter

__all__ = ['VARIANTS', 'ZOOMS', 'ritm']

# Each with the previous mask as an input ("it", iterative training) and without; of the latter only
# h18 has been published.
VARIANTS = {
  f'{size}{"" if previous else "_baseline"}': network.Variant(width, ocr_width, small, previous)
  for size, width, ocr_width, small in (
    ('h18s', 18, 48, True),
    ('h18', 18, 64, False),
    ('h32', 32, 128, False),
  )
  for previous in (True, False)
}

# "exact" is the evaluation that published numbers come from: the first click sees the whole image
# at its own size, later ones a crop whose longer side becomes 400, or 600 on DAVIS. "fixed" is the
# released evaluation mode of that name: every click sees 400x400, the aspect not kept, so that the
# network has one shape.
ZOOMS = {
  'exact': Zoom(target=400),
  'exact_600': Zoom(target=600),
  'fixed': evaluation.square(400),
  'fixed_600': evaluation.square(600),
}


def ritm(
  params: Mapping[str, np.ndarray],
  sha256: Mapping[str, str],
  *,
  name: str,
  size: str,
  zoom: str = 'exact',
  disks: str = 'soft',
  flip: bool = True,
  cascade: str = 'none',
) -> Segmenter:
  """RITM (arXiv 2102.06583) with its zoom-in and flip averaging, threshold 0.49.

  Args:
    params: flat tree, see `ports.hrnet.weights`.
    sha256: of the file that it came from, by name.
    name: of the model; a zoom that is not "exact" is appended.
    size: key of `VARIANTS`.
    zoom: key of `ZOOMS`.
    disks: "soft" for attacks, "hard" for the standard evaluation; see `ports.clicks.maps.Protocol`.
    flip: whether logits are averaged with those of the mirrored image.
    cascade: key of `ports.clicks.cascade.CASCADES`.

  Returns:
    The segmenter.

  Raises:
    ValueError: an unknown size, zoom, kind of disk or cascade.
  """
  choices.check('size', size, VARIANTS)
  variant = VARIANTS[size]

  def forward(
    params: Params, image: Array, maps: Array, size: Array | None
  ) -> tuple[Array, Array]:
    output = network.apply(variant, params, image, maps, size)
    return output.logits, output.size

  info = evaluation.told(name, sha256, zoom, ZOOMS)
  protocol = Protocol(ZOOMS[zoom], flip, disks, previous=variant.previous)
  return cascaded(segmenter(forward, dict(params), info, protocol), cascade)
