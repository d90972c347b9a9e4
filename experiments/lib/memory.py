"""How much memory a program needs, how much there is, and what to do where that is too little."""

from __future__ import annotations

import pathlib
import resource
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax

__all__ = [
  'OutOfMemoryError',
  'Room',
  'crowded',
  'device_room',
  'explained',
  'host_room',
  'narrow',
  'need_of',
  'ran_out',
  'resident',
  'shown',
  'too_little',
]

# Bytes of address space that are left before JAX starts. On two cores with JAX 0.10, MobileSAM's
# first click runs with 2.5e9; with 1.5e9 and 1.0e9 a thread cannot be started, which aborts.
_LEAST, _AMPLE = 1_750_000_000, 2_500_000_000

_ADDRESSES = 'the limit on address space (ulimit -v)'
# What no limit is, in the first version of control groups.
_NO_LIMIT = 1 << 60
_LONGEST_SAID = 120
_GROUPS = pathlib.Path('/sys/fs/cgroup')
_MAPS, _MOST_MAPS = pathlib.Path('/proc/self/maps'), pathlib.Path('/proc/sys/vm/max_map_count')


class OutOfMemoryError(RuntimeError):
  """Memory ran out or would; the message says of what, and which batch size would fit."""


class Room(NamedTuple):
  """Memory that this process may still take, in bytes.

  Attributes:
    free: now.
    most: whatever others give back; equals `free` where nobody else has a share in it.
    of: what sets it.
  """

  free: int
  most: int
  of: str


def shown(count: float) -> str:
  """Bytes as a person reads them: 12.3 GB, 240 MB."""
  return f'{count / 1e9:.1f} GB' if count >= 1e9 else f'{count / 1e6:.0f} MB'


def resident() -> int:
  """Bytes that this process holds in memory; 0 where the system does not say."""
  try:
    pages = pathlib.Path('/proc/self/statm').read_text().split()[1]
  except OSError:
    return 0
  return int(pages) * resource.getpagesize()


def crowded() -> bool:
  """Whether half of the memory maps are in use that the kernel grants this process.

  A compiled program for a CPU has about 1,000, Linux grants 65,530 of all kinds, and a process that
  gets none ends. False where there is no such limit.
  """
  most, used = _text(_MOST_MAPS).strip(), _text(_MAPS)
  return most.isdecimal() and used.count('\n') > int(most) // 2


def host_room() -> Room | None:
  """The narrowest of what the machine, the control group and the limit on addresses leave.

  None where the system says nothing, as macOS does.
  """
  rooms = list(_rooms())
  if not rooms:
    return None
  most = min(room.most for room in rooms)
  return min(rooms, key=lambda room: room.free)._replace(most=most)


def narrow() -> tuple[bool, str]:
  """Whether JAX cannot start in the addresses that are left, and what to say; '' for nothing.

  Where it cannot start a thread it ends the process, and nothing can be caught.
  """
  room = next((room for room in _rooms() if room.of == _ADDRESSES), None)
  if room is None or room.free >= _AMPLE:
    return False, ''
  return room.free < _LEAST, (
    f'{shown(room.free)} of {room.of} are left, and JAX ends a process that it cannot start or '
    f'compile in: it takes {shown(_AMPLE)} and more; raise the limit, or bound memory by a control '
    'group instead'
  )


def _rooms() -> Iterator[Room]:
  try:
    held = dict(line.split(':') for line in pathlib.Path('/proc/meminfo').read_text().splitlines())
    addresses, own = (
      int(pages) * resource.getpagesize()
      for pages in pathlib.Path('/proc/self/statm').read_text().split()[:2]
    )
    free, total, swap = (
      int(held[name].split()[0]) * 1024 for name in ('MemAvailable', 'MemTotal', 'SwapFree')
    )
  except (OSError, ValueError, KeyError):
    return
  yield Room(free, total + swap - own, 'this machine')
  for limit, used in _limits_of_groups():
    yield Room(max(limit - used, 0), max(limit - own, 0), "this process' control group")
  limit = resource.getrlimit(resource.RLIMIT_AS)[0]
  if limit != resource.RLIM_INFINITY:
    left = max(limit - addresses, 0)
    yield Room(left, left, _ADDRESSES)


def _limits_of_groups() -> Iterator[tuple[int, int]]:
  """Limit and use of every control group around this process, without files that may be dropped."""
  files = {'': ('memory.max', 'memory.current', 'inactive_file')}
  files['memory'] = 'memory.limit_in_bytes', 'memory.usage_in_bytes', 'total_inactive_file'
  for line in _text(pathlib.Path('/proc/self/cgroup')).splitlines():
    _, kinds, path = line.split(':', 2)
    name = next((one for one in kinds.split(',') if one in files), None)
    if name is None:
      continue
    limit_in, used_in, dropped = files[name]
    # Inside of a container the path is the one outside, and its group lies at the top.
    for group in (_GROUPS / name / path.lstrip('/'), *(_GROUPS / name / path.lstrip('/')).parents):
      if not group.is_relative_to(_GROUPS):
        break
      limit, used = _text(group / limit_in).strip(), _text(group / used_in).strip()
      if limit.isdecimal() and used.isdecimal() and int(limit) < _NO_LIMIT:
        pairs = [one.split() for one in _text(group / 'memory.stat').splitlines()]
        cached = sum(int(pair[1]) for pair in pairs if len(pair) == 2 and pair[0] == dropped)
        yield int(limit), int(used) - cached


def _text(path: pathlib.Path) -> str:
  try:
    return path.read_text(errors='replace')  # Names of mapped files are any bytes.
  except OSError:  # Another system, or another version of it.
    return ''


def device_room(device: jax.Device) -> Room | None:
  """Memory of a device that is free; the host's for a CPU, None where the device does not say."""
  if device.platform == 'cpu':
    return host_room()
  try:
    stats = device.memory_stats() or {}
  except (NotImplementedError, jax.errors.JaxRuntimeError):
    return None
  if 'bytes_limit' not in stats:
    return None
  left = int(stats['bytes_limit'] - stats.get('bytes_in_use', 0))
  return Room(left, left, device.device_kind)


def need_of(compiled: Any, resident: int, devices: int) -> int | None:
  """Bytes that a call of a compiled program takes beside what is there; None where unknown.

  Args:
    compiled: as `jax.stages.Lowered.compile` returns it.
    resident: bytes of its arguments that are on every device already.
    devices: of this process, that share the memory; 1 where each has its own.
  """
  try:
    found = compiled.memory_analysis()
  except (NotImplementedError, jax.errors.JaxRuntimeError):
    return None
  if found is None:
    return None
  each = found.temp_size_in_bytes + found.output_size_in_bytes + found.argument_size_in_bytes
  return max(each - found.alias_size_in_bytes - resident, 0) * devices


def too_little(
  what: str, need: int | None, room: Room | None, batch_size: int
) -> OutOfMemoryError:
  """The error that says what needs too much, and which batch size would fit.

  Args:
    what: needs it.
    need: in bytes, as `need_of` has it; None where unknown.
    room: what there is; None where unknown.
    batch_size: instances a batch.
  """
  needed = shown(need) if need else 'more memory'
  there = f'there is {shown(room.free)} of {room.of}' if room else 'there is too little'
  said = f'{what}, a batch of {batch_size}, needs {needed} and {there}; '
  fits = batch_size // 2
  if need and room:
    fits = min(int(room.free / (need / batch_size)), batch_size - 1)
  if fits > 0:
    return OutOfMemoryError(f'{said}try --batch_size={fits}')
  return OutOfMemoryError(
    f'{said}no smaller batch would fit: use smaller pictures, a smaller model or more memory'
  )


def explained(error: Exception, batch_size: int) -> Exception:
  """An error as `OutOfMemoryError` where this process ran out of memory; otherwise as it is.

  Args:
    error: what was raised.
    batch_size: instances that were worked on.
  """
  if isinstance(error, OutOfMemoryError) or not ran_out(error):
    return error
  said = (str(error).splitlines() or [''])[0][:_LONGEST_SAID] or type(error).__name__
  room = host_room()
  free = f', {shown(room.free)} of {room.of} are free' if room else ''
  said += f': this process has run out of memory{free}'
  smaller = f'; try a --batch_size below {batch_size}' if batch_size > 1 else ''
  return OutOfMemoryError(said + smaller)


def ran_out(error: Exception) -> bool:
  """Whether an error says that memory ran out, of the host or of a device."""
  if isinstance(error, MemoryError):
    return True
  said = str(error)
  return isinstance(error, jax.errors.JaxRuntimeError) and (
    'RESOURCE_EXHAUSTED' in said or 'out of memory' in said.lower()
  )
