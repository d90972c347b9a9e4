"""Command lines: attacks, weights, benchmarks."""

import sys

from experiments.lib import start

start.announce(sys.argv, sys.orig_argv)
