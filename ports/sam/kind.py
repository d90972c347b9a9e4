"""What tells the models of the SAM family apart: encoder, choices, and the name they give."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ports import choices
from ports.sam import network, preprocess, tiny_vit, vit

__all__ = ['ENCODERS', 'FEEDBACKS', 'HQ_MASKS', 'PRECISIONS', 'TINY_VIT', 'Kind']

FEEDBACKS = ('always', 'forget_at_negative_second')
"""Whether the mask is fed back at every later click, or not at a second click that is negative, as
in the predictor of RClicks (its points then fill two rows, as a first click's do). Numbers so made
compare with those that the predictor made, and with no others."""

HQ_MASKS = ('added', 'hq_only')
"""Of SAM-HQ: the high-quality logits are added to those of the chosen mask, as by default in its
release, or stand alone."""

PRECISIONS = ('float32', 'bfloat16')
"""In which the image encoder computes; all else is float32."""

TINY_VIT = 'tiny_vit'

ENCODERS: Mapping[str, str | vit.Config] = {'vit_tiny': TINY_VIT, **vit.CONFIGS}
"""The image encoders of SAM and SAM-HQ by size."""


@dataclasses.dataclass(frozen=True)
class Kind:
  """What tells the models of the family apart, beside their parameters.

  Attributes:
    encoder: `TINY_VIT`, or the sizes of a plain vision transformer.
    mask_choice: one of `network.MASK_CHOICES`.
    feedback: one of `FEEDBACKS`.
    precision: one of `PRECISIONS`.
    hq: one of `HQ_MASKS`; '' for a model without the high-quality token.
  """

  encoder: str | vit.Config = TINY_VIT
  mask_choice: str = network.MASK_CHOICES[0]
  feedback: str = FEEDBACKS[0]
  precision: str = PRECISIONS[0]
  hq: str = ''

  def __post_init__(self) -> None:
    """Raises ValueError for an unknown choice."""
    for what, known in (
      ('mask_choice', network.MASK_CHOICES),
      ('feedback', FEEDBACKS),
      ('precision', PRECISIONS),
      ('hq', ('', *HQ_MASKS)),
    ):
      choices.check(what, getattr(self, what), known)

  @property
  def side(self) -> int:
    """Of the frame, in pixels."""
    return preprocess.SIDE if isinstance(self.encoder, str) else self.encoder.side

  @property
  def grid(self) -> int:
    """Positions a side of the image embedding."""
    return network.GRID if isinstance(self.encoder, str) else self.encoder.grid

  @property
  def early(self) -> int:
    """Width of the early feature that a high-quality decoder reads."""
    return tiny_vit.EARLY if isinstance(self.encoder, str) else self.encoder.width

  @property
  def suffix(self) -> str:
    """What is not the default, as it is appended to a model's name."""
    picked = {
      self.mask_choice: network.MASK_CHOICES[0],
      self.feedback: FEEDBACKS[0],
      self.precision: PRECISIONS[0],
      self.hq or HQ_MASKS[0]: HQ_MASKS[0],
    }
    return ''.join(f'_{value}' for value, default in picked.items() if value != default)
