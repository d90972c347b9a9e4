"""Command lines: attacks, weights, benchmarks."""

import signal
import sys

# What comes while it is not settled yet how a program ends, is held back so long.
_held = {signal.SIGINT, signal.SIGTERM} if hasattr(signal, 'pthread_sigmask') else set()
_before = signal.pthread_sigmask(signal.SIG_BLOCK, _held) if _held else None
try:
  from experiments.lib import start

  start.announce(sys.argv, sys.orig_argv)
finally:
  if _before is not None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _before)
