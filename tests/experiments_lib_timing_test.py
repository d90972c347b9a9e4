"""How programs are timed: they are called as often as asked, and the machine is named."""

import jax
import jax.numpy as jnp

from experiments.lib import timing


def test_a_program_is_compiled_once_and_called_once_more_than_is_timed():
  traced, called = [], []

  def program(x):
    traced.append(x)
    jax.debug.callback(lambda: called.append(1))
    return 2.0 * x

  seconds, facts, result = timing.timed(program, (jnp.arange(3.0),), 4)
  assert len(traced) == 1 and len(called) == 5
  assert result.tolist() == [0, 2, 4]
  assert seconds > 0 and facts['cpu_seconds'] >= 0 and facts['compile_seconds'] >= 0


def test_a_rate_comes_with_its_machine():
  found = timing.machine()
  assert found['device']['platform'] == jax.devices()[0].platform
  assert found['versions']['jax'] == jax.__version__
  assert timing.peak_mib()['host_peak_mib'] > 1
