"""CFR-ICL as a click model: SimpleClick's network in a cascade."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ports.clicks.cascade import cascaded
from ports.simpleclick.segmenter import simpleclick
from tetris_jax.types import Segmenter

__all__ = ['cfr']

# "cf_n = 4" with the adaptive stop, at the first click.
_PUBLISHED = 'acf4'


def cfr(
  params: Mapping[str, np.ndarray],
  sha256: Mapping[str, str],
  *,
  name: str,
  size: str,
  zoom: str = 'fixed',
  disks: str = 'soft',
  flip: bool = True,
  cascade: str = _PUBLISHED,
) -> Segmenter:
  """CFR-ICL (arXiv 2303.05620), threshold 0.49; zoom-in and flip averaging as SimpleClick's.

  Args:
    params: flat tree, see `ports.simpleclick.weights`.
    sha256: of the file that it came from, by name.
    name: of the model; a zoom and a cascade that are not the published ones are appended.
    size: key of `ports.simpleclick.network.CONFIGS`.
    zoom: key of `ports.simpleclick.segmenter.ZOOMS`.
    disks: "soft" for attacks, "hard" for the standard evaluation; see `ports.clicks.maps.Protocol`.
    flip: whether logits are averaged with those of the mirrored image.
    cascade: key of `ports.clicks.cascade.CASCADES`.

  Raises:
    ValueError: an unknown size, zoom, kind of disk or cascade.
  """
  model = simpleclick(params, sha256, name=name, size=size, zoom=zoom, disks=disks, flip=flip)
  return cascaded(model, cascade, default=_PUBLISHED)
