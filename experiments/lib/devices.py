"""Whether JAX finds a device at all, said in one sentence where it does not."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import jax

from experiments.lib import memory, progress
from experiments.lib.settings import UsageError

__all__ = ['check']

_VARIABLES = ('JAX_PLATFORMS', 'JAX_PLATFORM_NAME')


def _short(record: logging.LogRecord) -> bool:
  """Makes a traceback that is logged the line that it ends with."""
  if record.exc_info and record.exc_info[1] is not None:
    record.msg = f'{record.getMessage()}: {record.exc_info[1]}'
    record.args, record.exc_info, record.exc_text = (), None, None
  return True


@contextlib.contextmanager
def _short_logs() -> Iterator[None]:
  """Where a plugin cannot be loaded JAX goes on without it, and logs where that was raised."""
  logger = logging.getLogger('jax._src.xla_bridge')
  logger.addFilter(_short)
  try:
    yield
  finally:
    logger.removeFilter(_short)


def _asked() -> dict[str, str]:
  """What of the variables is set."""
  found = {name: jax.config.values[name.lower()] for name in _VARIABLES}
  return {name: value for name, value in found.items() if value}


def _available() -> str:
  """The platforms that JAX finds when it may choose."""
  asked = _asked()
  for name in asked:
    jax.config.update(name.lower(), None)
  try:
    return ', '.join(dict.fromkeys([*(device.platform for device in jax.devices()), 'cpu']))
  except (RuntimeError, AssertionError):  # A plugin is broken, and hides the others.
    return 'cpu'
  finally:
    for name, value in asked.items():
      jax.config.update(name.lower(), value)


def check() -> None:
  """Starts JAX's devices, after a look whether there is room for that.

  Raises:
    UsageError: there is too little address space, or none of the kind that JAX_PLATFORMS asks for,
      or a plugin cannot start its own; the message says which kinds there are.
  """
  hopeless, said = memory.narrow()
  if hopeless:
    raise UsageError(said)
  if said:
    progress.STDERR.say(f'warning: {said}')
  with _short_logs():
    try:
      jax.devices()
      return
    except (RuntimeError, AssertionError) as error:  # The latter for CUDA without a visible GPU.
      why = str(error).partition(' (set JAX_PLATFORMS')[0].partition(' (you may need')[0]
      asked, there = _asked(), _available()
  told = ' '.join(f'{name}={value}' for name, value in asked.items())
  found = f'{told}: JAX has no such device here' if told else 'JAX has no device'
  why = ' '.join(why.split()).rstrip('.') or 'no such device is visible'
  name = [_VARIABLES[0], *asked][-1]
  raise UsageError(
    f'{found} ({why}); available: {there}. Set {name}={there.partition(",")[0]}, or install the '
    'driver and the JAX plugin of the device'
  )
