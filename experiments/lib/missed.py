"""Why most clicks of a file miss their objects: what coordinates may be, tried on the masks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from experiments.lib import loop
from tetris_jax import data
from tetris_jax.report.users import summary

__all__ = ['likely_cause', 'told']

# Masks are read again for this, so not all of a large data set.
_MOST_INSTANCES = 64

_Change = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""((n, 2) clicks, (height, width) of the picture that was clicked on) -> the clicks that may have
been meant."""

_CHANGES: Mapping[str, _Change] = {
  'y and x exchanged': lambda yx, size: yx[:, ::-1],
  'y counted from the bottom': lambda yx, size: yx * [-1, 1] + [size[0] - 1, 0],
  'y and x as shares of the height and the width': lambda yx, size: yx * size,
  'y and x as per cent of the height and the width': lambda yx, size: yx * size / 100,
  'y and x on the picture at 1024 pixels on its longer side, as models of the SAM family see it': (
    lambda yx, size: yx * max(size) / 1024
  ),
}


def _hits(
  clicks: Sequence[data.UserClick], sample: data.Sample, change: _Change
) -> int:
  """How many clicks on an instance hit its object after a change."""
  shown = np.array(clicks[0].size or sample.size)
  yx = change(np.array([[click.y, click.x] for click in clicks], np.float64), shown)
  # A picture that was shown larger has pixel centres elsewhere by less than a pixel.
  at = np.rint(yx * np.array(sample.size) / shown)
  inside = at[np.all((at >= 0) & (at < sample.size), axis=1)].astype(int)
  return int(sample.mask[inside[:, 0], inside[:, 1]].sum())


def likely_cause(
  clicks: Mapping[str, Sequence[data.UserClick]], samples: Sequence[data.Sample]
) -> str:
  """What makes over half of clicks hit that did not, as a clause, or what else may be wrong.

  Args:
    clicks: by instance, most of which miss.
    samples: the instances.
  """
  count = sum(len(clicks[sample.instance]) for sample in samples)
  found = {
    what: sum(_hits(clicks[sample.instance], sample, change) for sample in samples)
    for what, change in _CHANGES.items()
  }
  best = max(found, key=lambda what: found[what])
  if 2 * found[best] > count:
    return f'of {count} looked at, {found[best]} hit with {best}: correct the file if that is so'
  return summary.OTHER_CAUSES


def told(
  path: str | None,
  rows: Sequence[loop.Row],
  clicks: Mapping[str, Sequence[data.UserClick]],
  dataset: data.Dataset,
) -> str:
  """The cause where most clicks of a file miss their objects, after it is said; '' otherwise.

  Args:
    path: of the file.
    rows: of experiments.users.
    clicks: of the file, by instance.
    dataset: the instances.
  """
  missed = summary.mostly_missed(rows)
  if not missed or not clicks:
    return ''
  there = {row['instance'] for row in rows}
  indices = [i for i, name in enumerate(dataset.names) if name in there and name in clicks]
  step = -(-len(indices) // _MOST_INSTANCES)
  read = [dataset[index] for index in indices[::step]]
  cause = likely_cause(clicks, [one for one in read if isinstance(one, data.Sample)])
  print(f'note: --clicks={path}: {missed}; {cause}', file=sys.stderr)
  return cause
