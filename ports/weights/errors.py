"""What goes wrong with weights: the exceptions that readers, converters and the cache raise."""

from __future__ import annotations

from collections.abc import Collection, Iterable

__all__ = ['CheckpointError', 'Misfit']

_SHOWN = 3


class CheckpointError(ValueError):
  """A file of weights is missing, damaged, hostile or not the expected one; the text says which."""


class Misfit(CheckpointError):
  """A state dict is not the network's. The text is a summary with three faults of each kind.

  Attributes:
    faults: all of them, each "kind: what".
    wanted: names of the entries that the network takes.
    file: that the state dict is from, which the text starts with.
    shapes: of the entries that were found, by name; empty where nobody has noted them.
    leaves: shapes of the parameters that would be made of the entries; empty where nobody says.
    hints: sentences that the text ends with.
  """

  def __init__(self, faults: Iterable[str], wanted: Collection[str]):
    super().__init__()
    self.faults, self.wanted = tuple(faults), frozenset(wanted)
    self.file = ''
    self.shapes: dict[str, tuple[int, ...]] = {}
    self.leaves: dict[str, tuple[int, ...]] = {}
    self.hints: list[str] = []

  def __str__(self) -> str:
    """The summary."""
    kinds: dict[str, list[str]] = {}
    for fault in self.faults:
      kinds.setdefault(fault.partition(':')[0], []).append(fault)
    counts = ', '.join(f'{len(found)} {kind}' for kind, found in kinds.items())
    start = f'{self.file}: ' if self.file else ''
    number = len(self.faults)
    text = [f'{start}the checkpoint does not fit the network, {number} faults ({counts}):']
    for kind, found in kinds.items():
      text += found[:_SHOWN]
      if len(found) > _SHOWN:
        text.append(f'{kind}: {len(found) - _SHOWN} more')
    return '\n  '.join(text) + ''.join(f'\n{hint}' for hint in (*self._parts(), *self.hints))

  def _parts(self) -> list[str]:
    """What the faults have in common."""
    if self.faults and all(fault.startswith('misshapen: ') for fault in self.faults):
      return [
        'All names are right: it is such a network for another image size, of another width or '
        'with other outputs, which this model is not.'
      ]
    missing = {f.removeprefix('missing: ') for f in self.faults if f.startswith('missing: ')}
    there = {name.partition('.')[0] for name in self.wanted - missing}
    lost = sorted({name.partition('.')[0] for name in missing} - there)
    if not lost:
      return []
    if not there:
      return ["None of the network's names is in it."]
    return [f'Nothing of {", ".join(lost[:_SHOWN])} is in it, which holds a part of the network.']
