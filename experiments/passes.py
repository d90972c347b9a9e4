"""How far a robustness profile of few users is from that of the whole map, on finished heat maps.

  python -m experiments.passes --maps='runs/maps/maps/*.npz,runs/more/maps/*.npz'

A heat map holds the IoU of about every first click, so the profile of all of them is known. Users
are drawn from it again and again, by themselves and as `tetris_jax.crowd` draws them, and the mean
absolute error and the bias of D(.05), D(.25), D(.5) and the mean are printed for every number of
users, as means over the instances. Where a preset of the maps searched the whole region, also those
of the users pooled with its clicks (`tetris_jax.pooled`), by place, and by the masks where
the maps can be explored; colours are not in a map. Nothing is evaluated. Ends with 0, and with 2
when a map cannot be used.
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.lib import launch
from experiments.lib import settings as lib
from experiments.lib.settings import UsageError
from tetris_jax import pooled
from tetris_jax.geometry import curve, region
from tetris_jax.report import markdown
from tetris_jax.runs import maps, pieces
from tetris_jax.scores import priors, profile
from tetris_jax.search import spread
from tetris_jax.search.candidates import Candidates
from tetris_jax.types import Pooled

__all__ = ['COUNTS', 'Settings', 'execute', 'main', 'measure']

COUNTS = (16, 32, 64, 128, 256)
"""Of users, each of whom costs a pass of the decoder at the first click."""

_SCORES = (*profile.NAMES, 'mean')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(lib.Plugins):
  """What may be asked; see this program's `--help`."""

  maps: tuple[str, ...] = lib.setting(
    (), 'Maps of experiments.heatmap, by commas; patterns are expanded.', path=True
  )
  prior: str = lib.setting('distance', 'Click prior: distance, uniform, gaussian_0.05 and alike.')
  repeats: int = lib.setting(200, 'How often users are drawn.', least=2)

  @property
  def doing(self) -> str:
    """What the program is asked to do."""
    return f'passes: {", ".join(self.maps)} by the prior {self.prior}'


def _scores(iou: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
  """D(alpha) and the mean, (..., 4), of outcomes (..., num_users)."""
  d = [profile.d_alpha(iou, alpha, weights=weights) for alpha in profile.ALPHAS]
  share = np.broadcast_to(1.0 if weights is None else weights, iou.shape)
  return np.stack([*d, (share * iou).sum(-1) / share.sum(-1)], axis=-1)


def _alone(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
  return rng.random(shape)


def _stratified(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
  return (np.arange(shape[1]) + rng.random(shape)) / shape[1]


_DRAWS = {'by themselves': _alone, 'stratified': _stratified}


def measure(
  made: Mapping[str, np.ndarray], prior: str, counts: Sequence[int], repeats: int
) -> dict[str, np.ndarray]:
  """Errors of estimates from few users on one map.

  Args:
    made: its arrays; see `tetris_jax.runs.maps`.
    prior: by which users click.
    counts: of users.
    repeats: how often they are drawn.

  Returns:
    By kind of draw, (len(counts), repeats, 4): estimate less truth of D(.05), D(.25), D(.5) and
    the mean. "pooled with PRESET" for the presets that searched the whole region.

  Raises:
    ValueError: unknown prior.
  """
  legal, stride = made['legal'], int(made['stride'])
  # The first position is the robot user's click, which need not lie on the lattice.
  yx, iou = np.rint(made['yx'][1:]).astype(int), made['iou'][1:].astype(float)
  depth = np.asarray(region.inner_depth(legal))[yx[:, 0], yx[:, 1]]
  weights = priors.weights(prior, yx, depth, made['yx'][0], float(np.hypot(*legal.shape)))
  truth = _scores(iou, weights)
  # On the lattice alone, or sums over its empty rows would be all that there is to add.
  at = yx // stride
  sheet = np.zeros(at.max(0) + 1, np.float32)
  sheet[at[:, 0], at[:, 1]] = weights
  number = np.zeros(sheet.shape, int)
  number[at[:, 0], at[:, 1]] = np.arange(len(iou))
  levels = curve.pyramid(sheet)
  draw = jax.jit(jax.vmap(curve.at_share, (None, 0)))

  def users(shares: Callable[..., np.ndarray], rng: np.random.Generator, count: int) -> np.ndarray:
    share = jnp.asarray(shares(rng, (repeats, count)).reshape(-1), jnp.float32)
    place = np.asarray(draw(levels, share)).astype(int)
    return number[place[:, 0], place[:, 1]].reshape(repeats, count)

  found = {}
  for kind, shares in _DRAWS.items():
    rng = np.random.default_rng(0)
    drawn = [users(shares, rng, count) for count in counts]
    found[kind] = np.stack([_scores(iou[some]) - truth for some in drawn])
  # Those of the last kind.
  for name in sorted(name for name in made if name.endswith(maps.TRIED)):
    at_share = lambda share: stride * draw(levels, share) + stride // 2
    together = _pooling(made, name, at_share)
    pools = [np.stack(together(some)) for some in drawn]
    errors = [_scores(values, mass) - truth for values, mass in pools]
    found[f'pooled with {name.removesuffix(maps.TRIED)}'] = np.stack(errors)
  return found


def _pooling(
  made: Mapping[str, np.ndarray], name: str, at_share: Callable[[jax.Array], jax.Array]
) -> Callable[[np.ndarray], Pooled]:
  """Takes users (repeats, users), numbers of positions, to `Pooled` with the clicks of a search.

  Args:
    made: the arrays of a map.
    name: of the search's clicks among them. Each has the answer of the nearest position.
    at_share: as `pooled.pool` has it.
  """
  yx, iou = jnp.asarray(made['yx'][1:]), jnp.asarray(made['iou'][1:])
  held = jnp.zeros((len(yx), len(yx)), bool)
  if 'masks' in made:
    masks = np.unpackbits(made['masks'][1:], axis=1).reshape(len(yx), maps.MASK_SIDE, -1)
    cell = np.rint(made['yx'][1:]).astype(int) * maps.MASK_SIDE // np.array(made['legal'].shape)
    held = jnp.asarray(masks[:, cell[:, 0], cell[:, 1]] > 0)
  side = jnp.where(held, 1.0, jnp.float32(-1))
  apart = np.square(made[name][:, None] - made['yx'][None, 1:]).sum(-1)
  tried = np.unique(apart.argmin(1))
  unit = float(np.sqrt(np.count_nonzero(made['legal'])))
  answers = spread.Answers(
    Candidates(yx, jnp.ones(len(yx), bool), yx / unit),
    spread.Tried(yx[tried], jnp.asarray(tried, jnp.int32), iou[tried], side[tried]),
    jnp.float32('masks' in made),
  )

  def one(users: jax.Array) -> Pooled:
    clicked = pooled.Clicked(yx[users], iou[users], held[users])
    return pooled.pool(answers, clicked, at_share)

  return jax.jit(lambda users: lax.map(one, users))


def _table(errors: Mapping[str, np.ndarray]) -> str:
  """Mean absolute error, and bias in brackets, of errors (instances, counts, repeats, 4)."""
  lines = []
  for kind, found in errors.items():
    size, bias = np.abs(found).mean((0, 2)), found.mean((0, 2))
    for row, count in enumerate(COUNTS):
      cells = [f'{a:.4f} ({b:+.4f})' for a, b in zip(size[row], bias[row], strict=True)]
      lines.append([kind, str(count), *cells])
  return markdown.table(['users', 'passes', *_SCORES], lines)


def execute(settings: Settings) -> int:
  """Prints the table; returns the exit status.

  Raises:
    UsageError: no map, one that is damaged, or an unknown prior.
  """
  some: list[dict[str, np.ndarray]] = []
  for path in pieces.expanded(settings.maps):
    try:
      made = maps.read_map(pathlib.Path(path), ())
      some.append(measure(made, settings.prior, COUNTS, settings.repeats))
    except maps.DamagedMapError as error:
      raise UsageError(f'--maps: {error}') from error
    except ValueError as error:
      raise UsageError(f'--prior={settings.prior}: {error}') from error
  if not some:
    raise UsageError('--maps names no map; give the .npz files of a run of experiments.heatmap')
  kinds = [kind for kind in some[0] if all(kind in one for one in some)]
  errors = {kind: np.stack([one[kind] for one in some]) for kind in kinds}
  print(f'{len(some)} maps: mean absolute error (bias) at the first click\n\n{_table(errors)}')
  return launch.DONE


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the program; returns the exit status that the module's docstring lists."""
  return launch.run(__doc__, Settings, execute, argv)


if __name__ == '__main__':
  sys.exit(main())
