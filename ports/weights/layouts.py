"""Where in a training's checkpoint the weights lie: entries and prefixes around the names.

Training programs save more than weights ({'model': ..., 'optimizer': ..., 'ema': ...}) and under
longer names ("module." of DataParallel, "_orig_mod." of torch.compile, "model." of Lightning). What
is around the names is told by comparing them with those that the network takes.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Collection, Mapping

import numpy as np

from ports.weights.errors import CheckpointError

__all__ = ['entry', 'unwrap']

# Parts that PyTorch's wrappers put into names, anywhere.
_WRAPPERS = ('module', '_orig_mod', '_fsdp_wrapped_module', '_checkpoint_wrapped_module')
# Entries of an average, or of another network of the same kind, beside the one that was trained.
_SECOND = re.compile(r'(.*_)?(ema|swa|avg|averaged?|shadow|teacher|student|momentum)(_.*|\d*)')
_SHOWN = 5

_State = Mapping[str, np.ndarray]


def entry(state: _State, name: str) -> dict[str, np.ndarray]:
  """The tensors under the entry `name` where all of them lie there, and `state` otherwise."""
  prefix = f'{name}.'
  whole = all(key.startswith(prefix) for key in state)
  return {key.removeprefix(prefix) if whole else key: array for key, array in state.items()}


def _without_wrappers(state: _State, wanted: Collection[str]) -> dict[str, str]:
  """Name without wrappers' parts -> name in `state`; unchanged where two would meet."""
  known = {part for name in wanted for part in name.split('.')}
  wrappers = [w for w in _WRAPPERS if w not in known]
  short = {'.'.join(p for p in n.split('.') if p not in wrappers): n for n in state}
  return short if len(short) == len(state) else {name: name for name in state}


def _prefixes(names: Collection[str], wanted: Collection[str]) -> Counter[str]:
  """How many of the wanted names stand behind each prefix, which ends in a dot or is empty."""
  counts: Counter[str] = Counter()
  deepest = max((name.count('.') + 1 for name in wanted), default=0)
  for name in names:
    parts = name.split('.')
    for i in range(max(len(parts) - deepest, 0), len(parts)):
      if '.'.join(parts[i:]) in wanted:
        counts[''.join(f'{part}.' for part in parts[:i])] += 1
  return counts


def _chosen(
  sets: list[str], state: _State, short: Mapping[str, str], wanted: Collection[str], file: str
) -> str:
  """Of the prefixes with equally many of the wanted names the one that was trained.

  Raises:
    CheckpointError: several entries hold a set, and their names do not tell which is meant.
  """
  first = [p for p in sets if not any(_SECOND.fullmatch(part) for part in p.split('.'))]
  if len(sets) == 1 or len(first) == 1:
    return (first or sets)[0]
  sets = first or sets

  def array(name: str) -> np.ndarray | None:
    return state[short[name]] if name in short else None

  def same(other: str) -> bool:
    pairs = [(array(sets[0] + name), array(other + name)) for name in wanted]
    return all(
      (a is None) == (b is None) and (a is None or b is None or np.array_equal(a, b))
      for a, b in pairs
    )

  if all(same(other) for other in sets[1:]):
    return sets[0]
  shown = ', '.join(f'"{p.removesuffix(".") or "(no entry)"}"' for p in sets[:_SHOWN])
  raise CheckpointError(
    f'{file}: several entries hold a set of weights: {shown}. Which one is meant cannot be told: '
    'save it alone, with torch.save(torch.load(PATH)[ENTRY], OTHER_PATH), and use the new file'
  )


def _others(names: Collection[str], prefix: str) -> str:
  """What lies beside the weights, by entry, with the number of its tensors."""
  counts: Counter[str] = Counter()
  for name in names:
    pairs = zip(name.split('.'), prefix.split('.'), strict=False)
    shared = list(itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    counts['.'.join(name.split('.')[: len(shared) + 1])] += 1
  shown = [f'"{name}" ({n} tensors)' for name, n in counts.most_common(_SHOWN)]
  more = [f'{len(counts) - _SHOWN} more' if len(counts) > _SHOWN else '']
  return ', '.join(filter(None, shown + more))


def unwrap(state: _State, wanted: Collection[str], file: str) -> tuple[dict[str, np.ndarray], str]:
  """The weights out of a checkpoint, under the names that a network takes.

  Args:
    state: all tensors of the file by dotted name.
    wanted: names that the network takes.
    file: name of the file, for what is said.

  Returns:
    Entries behind the prefix that has most of the wanted names, without the prefix and without
    wrappers' parts; and a sentence that says what was taken and left out, empty where nothing was
    changed. `state` itself where no name is among the wanted ones.

  Raises:
    CheckpointError: several entries hold a set, and their names do not tell which is meant.
  """
  short = _without_wrappers(state, wanted)
  counts = _prefixes(short, wanted)
  if not counts:
    return dict(state), ''
  sets = [p for p, n in counts.items() if n == max(counts.values())]
  prefix = _chosen(sets, state, short, wanted, file)
  inner = tuple(p for p in sets if p != prefix and p.startswith(prefix))
  taken = {
    n.removeprefix(prefix): full
    for n, full in short.items()
    if n.startswith(prefix) and not (inner and n.startswith(inner))
  }
  # what has other wrappers than all of the weights is none of them, such as a count of averages
  before = {full.removesuffix(n) for n, full in taken.items() if n in wanted}
  if len(before) == 1:
    (whole,) = before
    taken = {n: full for n, full in taken.items() if full.startswith(whole)}
  said = [f'took the tensors under "{prefix.removesuffix(".")}" of {file}'] if prefix else []
  parts = {part for n, full in taken.items() if n != full for part in full.split('.')}
  wrappers = ', '.join(f'"{w}."' for w in _WRAPPERS if w in parts)
  if wrappers:
    said.append(f'dropped {wrappers} from {"their names" if prefix else f"the names in {file}"}')
  left = set(state) - set(taken.values())
  if left:
    said.append(f'left out {_others([n for n in state if n in left], prefix)}')
  return {n: state[full] for n, full in taken.items()}, ', '.join(said)
