"""What benchmarks share: how a program is timed, and on what it ran."""

from __future__ import annotations

import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax

from experiments.lib import describe, progress

__all__ = ['machine', 'peak_mib', 'timed']


def timed(
  function: Callable[..., Any], args: Sequence[Any], repeats: int
) -> tuple[float, dict[str, float], Any]:
  """Compiles a function and calls it.

  Returns:
    The median seconds of `repeats` calls after a first one; by name the processor seconds of this
    process in the same calls, which other programs on the machine disturb less, the seconds that
    compiling took, and the MiB that the program needs beside its arguments and results; and the
    result.
  """
  start = time.perf_counter()
  with progress.ticking('compiling', after=1.0):
    compiled = jax.jit(function).lower(*args).compile()
  facts = {'compile_seconds': round(time.perf_counter() - start, 2)}
  memory = compiled.memory_analysis()
  if memory is not None:
    facts['temporary_mib'] = round(memory.temp_size_in_bytes / 2**20, 1)
  result = jax.block_until_ready(compiled(*args))
  seconds, processor = [], []
  for _ in range(repeats):
    start, used = time.perf_counter(), time.process_time()
    jax.block_until_ready(compiled(*args))
    seconds.append(time.perf_counter() - start)
    processor.append(time.process_time() - used)
  facts['cpu_seconds'] = round(statistics.median(processor), 4)
  return statistics.median(seconds), facts, result


def peak_mib() -> dict[str, float]:
  """The most memory that this process has used so far, and its first device where it says."""
  host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  host_mib = host / 2**20 if sys.platform == 'darwin' else host / 2**10
  found = {'host_peak_mib': round(host_mib, 1)}
  stats = jax.devices()[0].memory_stats()
  if stats and 'peak_bytes_in_use' in stats:
    found['device_peak_mib'] = round(stats['peak_bytes_in_use'] / 2**20, 1)
  return found


def machine() -> dict[str, dict[str, str]]:
  """The device and the versions that a rate is worth nothing without."""
  device = jax.devices()[0]
  return {
    'device': {'platform': device.platform, 'kind': device.device_kind, 'cpu': platform.machine()},
    'versions': describe.versions('jax', 'jaxlib', 'flax', 'numpy'),
  }
