"""How tests compile: quickly, for most compile far more than they compute.

LLVM's optimisations take half of the time, and XLA's newer way to emit fusions half of the rest;
where the earlier one still is, it is taken. `TESTS_OPTIMISE=1` has programs as users have them, for
parity with real checkpoints.
"""

import importlib.metadata
import os

__all__ = ['FLAGS', 'UNOPTIMISED']

UNOPTIMISED = '--xla_backend_optimization_level=0'
"""Alone, for processes of whole runs whose bytes are compared: fusions are as users have them."""

_QUICK = [UNOPTIMISED]
if importlib.metadata.version('jaxlib').startswith('0.10.'):
  _QUICK.append('--xla_cpu_use_fusion_emitters=false')

FLAGS = '' if os.environ.get('TESTS_OPTIMISE') == '1' else ' '.join(_QUICK)
"""For XLA_FLAGS, before the first import of jax."""
