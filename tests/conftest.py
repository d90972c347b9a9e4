"""Every test runs with two CPU devices and with JAX's strict modes on."""

import contextlib
import ctypes
import gc
import importlib
import os
import sys
import types
from collections.abc import Iterator
from typing import Any

import compiling

# Before the first import of jax.
os.environ['XLA_FLAGS'] = ' '.join([
  os.environ.get('XLA_FLAGS', ''),
  '--xla_force_host_platform_device_count=2',
  compiling.FLAGS,
])

import hypothesis
import jax
import pytest

jax.config.update('jax_numpy_dtype_promotion', 'strict')
jax.config.update('jax_numpy_rank_promotion', 'raise')
jax.config.update('jax_default_matmul_precision', 'highest')

TESTS = os.path.dirname(os.path.abspath(__file__)) + os.sep

MOST_RESIDENT = 3_000_000_000
"""Bytes that a process holds when a module's tests have ended, before it drops what it can."""

# How long an example takes says nothing about its answer.
hypothesis.settings.register_profile('untimed', deadline=None)
hypothesis.settings.load_profile('untimed')


def pytest_addoption(parser: pytest.Parser) -> None:
  """How long damaged files are drawn; see `fuzz_test`."""
  parser.addoption(
    '--fuzz_minutes', type=float, default=0.0,
    help='draws damaged files of all formats for so long; 0: the same few each time',
  )  # fmt: skip


@pytest.fixture
def fuzz_minutes(request: pytest.FixtureRequest) -> float:
  """Minutes that the caller gives to damaged files; 0 for the usual few cases."""
  return request.config.getoption('--fuzz_minutes')


@pytest.fixture
def sweep_models(monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
  """The plugin of sweeps, in this process for as long as a test takes."""
  from experiments.lib import attack_job
  from ports import zoo

  before = set(zoo.MODELS)
  monkeypatch.setattr(attack_job.AttackJob, 'measure', attack_job.AttackJob.measure)
  yield importlib.import_module('sweep_models')
  for name in set(zoo.MODELS) - before:
    del zoo._rows[name]
  sys.modules.pop('sweep_models')


def pytest_configure(config: pytest.Config) -> None:
  """Makes a warning that our own packages raise or cause an error."""
  config.addinivalue_line('filterwarnings', 'error:::(tetris_jax|ports|experiments)')


@pytest.hookimpl(optionalhook=True)  # There may be no xdist.
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
  """Gives a process tests that stand together, which share what they compile and set up."""
  from xdist.scheduler import WorkStealingScheduling

  return WorkStealingScheduling(config, log) if config.getvalue('dist') == 'load' else None


@pytest.fixture(scope='module', autouse=True)
def bounded_memory() -> Iterator[None]:
  """Drops what tests have compiled and kept, where that has become much.

  A process that gets no more memory maps from the kernel dies, as may one of several that together
  take the machine's memory.
  """
  yield
  from experiments.lib import memory

  if not memory.crowded() and memory.resident() < MOST_RESIDENT:
    return
  modules = [one for one in sys.modules.values() if isinstance(one, types.ModuleType)]
  for held in [vars(one) for one in modules]:
    if str(held.get('__file__')).startswith(TESTS):
      for cached in [value for value in held.values() if hasattr(value, 'cache_clear')]:
        cached.cache_clear()
  jax.clear_caches()
  gc.collect()
  with contextlib.suppress(OSError, AttributeError):  # Of glibc, which keeps what is freed.
    ctypes.CDLL(None).malloc_trim(0)
