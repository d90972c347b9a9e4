"""Whether JAX finds a device at all, said in one sentence where it does not."""

from __future__ import annotations

import jax

from experiments.lib.settings import UsageError

__all__ = ['check']


def _available() -> str:
  """The platforms that JAX finds when it may choose."""
  asked = jax.config.values['jax_platforms']
  jax.config.update('jax_platforms', None)
  try:
    return ', '.join(dict.fromkeys([*(device.platform for device in jax.devices()), 'cpu']))
  except (RuntimeError, AssertionError):  # A plugin is broken, and hides the others.
    return 'cpu'
  finally:
    jax.config.update('jax_platforms', asked)


def check() -> None:
  """Starts JAX's devices.

  Raises:
    UsageError: there is none of the kind that JAX_PLATFORMS asks for, or a plugin cannot start its
      own; the message says which kinds there are.
  """
  try:
    jax.devices()
  except (RuntimeError, AssertionError) as error:  # The latter for CUDA without a visible GPU.
    asked = jax.config.values['jax_platforms']
    why = str(error).partition(' (set JAX_PLATFORMS')[0].partition(' (you may need')[0]
    why = ' '.join(why.split()).rstrip('.') or 'no such device is visible'
    found = f'JAX_PLATFORMS={asked}: JAX has no such device here' if asked else 'JAX has no device'
    there = _available()
    raise UsageError(
      f'{found} ({why}); available: {there}. Set JAX_PLATFORMS={there.partition(",")[0]}, or '
      'install the driver and the JAX plugin of the device'
    ) from error
