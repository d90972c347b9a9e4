"""White-box robustness of interactive segmentation to where people click, in JAX.

A model is handed in as pure functions (`Segmenter`); `attack` searches, for every instance of a
`Batch`, the clicks that lower and raise the IoU of its masks; `metrics` turns what was found into
the robustness score of "TETRIS" (AAAI 2024, arXiv 2402.06132).
"""

from tetris_jax import adapters, presets
from tetris_jax.attack import attack, replay, worst_clicks
from tetris_jax.geometry import render
from tetris_jax.presets import AttackConfig
from tetris_jax.scores import checks, metrics
from tetris_jax.search.base import Search
from tetris_jax.search.local import Local
from tetris_jax.search.wide import Wide
from tetris_jax.types import (
  EMPTY,
  MODES,
  NEGATIVE,
  POSITIVE,
  Batch,
  Byproducts,
  Clicks,
  Frame,
  ModelInfo,
  Outlook,
  Segmenter,
  Trajectories,
)

__version__ = '0.1.0'

__all__ = [
  'EMPTY',
  'MODES',
  'NEGATIVE',
  'POSITIVE',
  'AttackConfig',
  'Batch',
  'Byproducts',
  'Clicks',
  'Frame',
  'Local',
  'ModelInfo',
  'Outlook',
  'Search',
  'Segmenter',
  'Trajectories',
  'Wide',
  '__version__',
  'adapters',
  'attack',
  'checks',
  'metrics',
  'presets',
  'render',
  'replay',
  'worst_clicks',
]
