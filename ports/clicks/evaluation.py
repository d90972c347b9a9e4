"""What the published evaluations of networks that read click maps share."""

from __future__ import annotations

from collections.abc import Mapping

from ports import choices
from ports.clicks.zoom import Zoom
from tetris_jax.types import Array, ModelInfo

__all__ = ['only_squares', 'square', 'told']


def square(side: int, *, anew: bool = False) -> Zoom:
  """Every click sees one square, the aspect not kept.

  Args:
    side: of the square, in pixels.
    anew: whether the crop is chosen anew at every click, and may be small.
  """
  if anew:
    return Zoom((side, side), skip_clicks=-1, min_crop=10, keep_iou=2.0, threshold=0.49)
  return Zoom((side, side), skip_clicks=-1)


def only_squares(network: str, size: Array | None) -> None:
  """Raises ValueError where a network that sees squares of one size is told another.

  Args:
    network: its name.
    size: as `ports.clicks.maps.Forward` has it.
  """
  if size is not None:
    raise ValueError(f'{network} sees squares of one size; choose a Zoom that is fixed')


def told(
  name: str,
  sha256: Mapping[str, str],
  zoom: str,
  zooms: Mapping[str, Zoom],
  *,
  threshold: float = 0.49,
) -> ModelInfo:
  """What is told of a model; a zoom that is not the first of all is appended to its name.

  Args:
    name: of the model.
    sha256: of the file that it came from, by name.
    zoom: key of `zooms`.
    zooms: all there are, the published one first.
    threshold: of the mask.

  Raises:
    ValueError: an unknown zoom.
  """
  choices.check('zoom', zoom, zooms)
  full = name if zoom == next(iter(zooms)) else f'{name}_{zoom}'
  return ModelInfo(full, threshold=threshold, step_diagonal='frame', sha256=dict(sha256))
