"""What users' clicks amount to: rows of experiments.users to a summary, and to Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tetris_jax.report.attack.summary import entry
from tetris_jax.report.attack.tables import cell, facts, interval, table, troubles, x100
from tetris_jax.scores import metrics

__all__ = [
  'FILE',
  'ON_OBJECT',
  'QUALITY',
  'SEVERAL',
  'Attacks',
  'attack_scores',
  'markdown',
  'spread_name',
  'summarise',
]

FILE = 'file'
"""The source of clicks that were read from a file; the others are named by their prior."""

ON_OBJECT = 'file, on the object'
"""The clicks of the file that lie on the object, where some do not."""

SEVERAL = 'n with 2 or more clicks'
"""The column of how many instances standard deviation, NSR and D count."""

QUALITY = 0.9
"""The IoU of NoC@90."""

_STATUSES = ('ok', 'failed', 'skipped')
# Another program may round the IoU of the same click differently.
_ROUNDING = 1e-6

Attacks = Mapping[str, Mapping[str, Mapping[str, float]]]
"""preset -> instance -> "min" and "max" IoU after the first click, and "d" of all clicks."""


def attack_scores(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
  """Of the measured rows of an attack, by instance, as `Attacks` holds them."""
  return {
    row['instance']: {
      'min': row['iou']['min'][0],
      'max': row['iou']['max'][0],
      'd': float(metrics.robustness(row['iou']['min'], row['iou']['max'])),
    }
    for row in rows
    if row['status'] == 'ok' and row['iou']['min'] is not None
  }


def _clicks(row: Mapping[str, Any], source: str) -> dict[str, np.ndarray] | None:
  """One source's clicks on an instance as arrays; None where it has none."""
  found = row['users'].get(FILE if source == ON_OBJECT else source)
  if found is None:
    return None
  arrays = {key: np.array(found[key]) for key in ('yx', 'iou', 'biou', 'on_object', 'clamped')}
  if source == ON_OBJECT:
    arrays = {key: value[arrays['on_object']] for key, value in arrays.items()}
  return arrays if len(arrays['iou']) else None


def _sources(ok: Sequence[Mapping[str, Any]]) -> list[str]:
  names = list(dict.fromkeys(name for row in ok for name in row['users']))
  on_object = [on for row in ok if FILE in row['users'] for on in row['users'][FILE]['on_object']]
  if any(on_object) and not all(on_object):
    names.insert(names.index(FILE) + 1, ON_OBJECT)
  return names


def _estimate(values: Sequence[Any]) -> dict[str, Any]:
  return entry(metrics.mean(np.array(values, np.float64)))


def _distances(values: np.ndarray) -> dict[str, float]:
  """Of all clicks alike."""
  return {
    'mean': round(float(values.mean()), 6),
    'median': round(float(np.median(values)), 6),
    'q90': round(float(np.quantile(values, 0.9)), 6),
  }


def _inside(
  instances: Sequence[tuple[str, np.ndarray]], scores: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
  """Where users' IoUs lie beside [MIN@1, MAX@1] of a preset, on the instances that have both.

  All three D are means over the same instances, those with at least two clicks.
  """
  below, above, clicks = 0, 0, 0
  shares: list[Any] = []
  first: list[Any] = []
  whole: list[Any] = []
  users: list[Any] = []
  for name, iou in instances:
    if name not in scores:
      continue
    score = scores[name]
    under, over = iou < score['min'] - _ROUNDING, iou > score['max'] + _ROUNDING
    below, above, clicks = below + int(under.sum()), above + int(over.sum()), clicks + len(iou)
    shares.append(1 - np.mean(under | over))
    # The spread of a single click is no spread, and an attack's beside it would compare with none.
    several = len(iou) > 1
    first.append(score['max'] - score['min'] if several else np.nan)
    whole.append(score['d'] if several else np.nan)
    users.append(iou.max() - iou.min() if several else np.nan)
  part = lambda count: round(count / clicks, 6) if clicks else None
  return {
    'n_clicks': clicks,
    'inside': part(clicks - below - above),
    'below': part(below),
    'above': part(above),
    'inside_per_instance': _estimate(shares),
    'attack_d1': _estimate(first),
    'attack_d': _estimate(whole),
    'user_d': _estimate(users),
  }


def _user(ok: Sequence[Mapping[str, Any]], source: str, attacks: Attacks) -> dict[str, Any]:
  """Scores of one source of clicks."""
  found = [(row, clicks) for row in ok if (clicks := _clicks(row, source)) is not None]
  iou = [clicks['iou'] for _, clicks in found]
  # The spread of a single click is no spread.
  several = [some for some in iou if len(some) > 1]
  away, parts = [], []
  for row, clicks in found:
    offset = clicks['yx'] - np.array(row['robot']['yx'])
    away.append(np.hypot(offset[:, 0], offset[:, 1]))
    parts.append(away[-1] / np.hypot(*row['size']))
  named = [(row['instance'], clicks['iou']) for row, clicks in found]
  total = lambda key: int(sum(clicks[key].sum() for _, clicks in found))
  return {
    'n': len(found),
    'n_clicks': sum(map(len, iou)),
    'n_clamped': total('clamped'),
    'n_off_object': sum(map(len, iou)) - total('on_object'),
    'mean': _estimate([some.mean() for some in iou]),
    'robot': _estimate([row['robot']['iou'] for row, _ in found]),
    'std': _estimate([some.std() for some in several]),
    'nsr': _estimate([metrics.nsr(some) for some in several]),
    'd': _estimate([some.max() - some.min() for some in several]),
    'below_robot': _estimate(
      [np.mean(clicks['iou'] < row['robot']['iou'] - _ROUNDING) for row, clicks in found]
    ),
    'distance_pixels': _distances(np.concatenate(away)),
    'distance_diagonal': _distances(np.concatenate(parts)),
    'attacks': {preset: _inside(named, scores) for preset, scores in attacks.items()},
  }


def _curves(ok: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
  """(num_instances, num_clicks) IoU of each trajectory that was walked, by its user's name."""
  names = ok[0]['trajectories'] if ok else {}
  return {name: np.array([row['trajectories'][name]['iou'] for row in ok]) for name in names}


def _groups(curves: Mapping[str, np.ndarray]) -> dict[str, Any] | None:
  names = [name for name in curves if name.startswith('G') and name[1:].isdecimal()]
  if not names:
    return None
  names.sort(key=lambda name: int(name[1:]))
  noc = np.array([metrics.noc(curves[name], QUALITY) for name in names])
  scores = metrics.group_scores(noc, metrics.noc(curves['base'], QUALITY))
  auc = np.array([metrics.iou_auc(curves[name]) for name in names])
  return {
    **{key: entry(estimate) for key, estimate in scores._asdict().items()},
    'iou_auc': entry(metrics.mean(auc.mean(0))),
    'iou_auc_std': entry(metrics.mean(auc.std(0))),
    'iou_auc_nsr': entry(metrics.mean(metrics.nsr(auc.T))),
  }


def summarise(
  rows: Sequence[Mapping[str, Any]], model: str, num_clicks: int, attacks: Attacks
) -> dict[str, Any]:
  """What a run found, as `summary.json` holds it; scores are in [0, 1], NoC in clicks.

  "users" has an entry for each source of first clicks: "mean", "std" and "nsr" as RClicks' User@1
  (arXiv 2410.11722), "d" the mean over instances of highest - lowest IoU, "robot" the robot user's
  IoU there, and for each preset of `attacks` the share of clicks "inside" its [MIN@1, MAX@1].
  "std", "nsr" and "d" count instances with at least two clicks, and so do "user_d", "attack_d1"
  and "attack_d" of a preset. "trajectories" has NoC@90, NoF@90 and IoU-AuC of each user who walked
  through all rounds, "groups" the scores of G1 to G10 together, or None.

  Args:
    rows: of experiments.users.
    model: its name.
    num_clicks: rounds of a trajectory.
    attacks: what attacks found on the same instances.
  """
  count = {status: sum(row['status'] == status for row in rows) for status in _STATUSES}
  ok = [row for row in rows if row['status'] == 'ok']
  curves = _curves(ok)
  return {
    'n_ok': count['ok'],
    'n_failed': count['failed'],
    'n_skipped': count['skipped'],
    'model': model,
    'num_clicks': num_clicks,
    'users': {source: _user(ok, source, attacks) for source in _sources(ok)},
    'trajectories': {
      name: {
        'noc90': entry(metrics.mean(metrics.noc(curve, QUALITY))),
        'nof90': metrics.nof(curve, QUALITY),
        'iou_auc': entry(metrics.mean(metrics.iou_auc(curve))),
        'per_click': [entry(estimate) for estimate in metrics.means(curve)],
      }
      for name, curve in curves.items()
    },
    'groups': _groups(curves),
    'forward': sum(row['forward'] or 0 for row in rows),
    'backward': 0,
  }


def _first_clicks(summary: Mapping[str, Any]) -> str:
  head = ['Clicks from', 'Robot', 'Mean', '95 % interval', 'Std', 'NSR', 'D', 'Below robot']
  lines = [
    [source, x100(one['robot']['value']), x100(one['mean']['value']), interval(one['mean'])]
    + [x100(one[key]['value']) for key in ('std', 'nsr', 'd', 'below_robot')]
    + [str(one['n']), str(one['d']['n']), str(one['n_clicks'])]
    for source, one in summary['users'].items()
  ]
  return table([*head, 'n', SEVERAL, 'clicks'], lines)


def _away(summary: Mapping[str, Any]) -> str:
  head = ['Clicks from', 'mean, px', 'median, px', '90 %, px']
  head += ['mean, % of diagonal', 'median, %', '90 %, %', 'clicks']
  lines = []
  for source, one in summary['users'].items():
    pixels, parts = one['distance_pixels'], one['distance_diagonal']
    numbers = [f'{pixels[key]:.1f}' for key in ('mean', 'median', 'q90')]
    numbers += [x100(parts[key]) for key in ('mean', 'median', 'q90')]
    lines.append([source, *numbers, str(one['n_clicks'])])
  return table(head, lines)


def _intervals(summary: Mapping[str, Any]) -> str:
  head = ['Clicks from', 'Preset', 'Inside', 'Below MIN@1', 'Above MAX@1', 'Mean of instances']
  head += ['95 % interval', 'User D', 'Attack D@1', 'Attack D', 'n', SEVERAL, 'clicks']
  lines = []
  for source, one in summary['users'].items():
    for preset, found in one['attacks'].items():
      shares = [x100(found[key]) for key in ('inside', 'below', 'above')]
      each = found['inside_per_instance']
      scores = [x100(found[key]['value']) for key in ('user_d', 'attack_d1', 'attack_d')]
      lines.append(
        [source, f'`{preset}`', *shares, x100(each['value']), interval(each), *scores]
        + [str(each['n']), str(found['user_d']['n']), str(found['n_clicks'])]
      )
  return table(head, lines)


def _walks(summary: Mapping[str, Any]) -> str:
  lines = []
  for name, one in summary['trajectories'].items():
    noc, auc = one['noc90'], one['iou_auc']
    lines.append(
      [name, f'{noc["value"]:.2f}', str(one['nof90']), x100(auc['value']), interval(auc)]
      + [str(noc['n'])]
    )
  return table(['User', 'NoC@90', 'NoF@90', 'IoU-AuC', '95 % interval', 'n'], lines)


def _group_lines(groups: Mapping[str, Any]) -> str:
  clicks = f'{groups["mean"]["value"]:.2f} ± {groups["std"]["value"]:.2f}'
  lines = [
    ['NoC@90, mean ± std', clicks, str(groups['mean']['n'])],
    ['Delta-Base of NoC@90, %', x100(groups['delta_base']['value']), str(groups['mean']['n'])],
    ['Delta G1-G10 of NoC@90, %', x100(groups['delta_groups']['value']), str(groups['mean']['n'])],
    [
      'IoU-AuC, mean ± std',
      f'{x100(groups["iou_auc"]["value"])} ± {x100(groups["iou_auc_std"]["value"])}',
      str(groups['iou_auc']['n']),
    ],
    ['NSR of IoU-AuC', x100(groups['iou_auc_nsr']['value']), str(groups['iou_auc_nsr']['n'])],
  ]
  return table(['G1 to G10', '', 'n'], lines)


def _file(about: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
  """What became of every line of the file."""
  one = summary['users'].get(FILE, {'n_clicks': 0, 'n_clamped': 0, 'n_off_object': 0})
  lines = [
    ['evaluated, as positive clicks', one['n_clicks'], ''],
    ['of these outside of the picture, moved to its border', one['n_clamped'], ''],
    ['of these off the object', one['n_off_object'], ''],
    ['equal in place to an earlier one without a user, kept', about['repeated'], ''],
    *(
      [f'left out: {reason}', left['count'], left['first_line']]
      for reason, left in about['left_out'].items()
    ),
  ]
  cells = [[cell(str(value)) for value in line] for line in lines]
  note = (
    'As in RClicks every first click counts as positive, wherever it lies. Clicks on instances '
    'that have no numbers are in none of these counts.'
  )
  head = f'## The clicks of `{cell(about["name"])}`'
  return f'{head}\n\n{note}\n\n{table(["", "clicks", "first line"], cells)}'


def markdown(
  rows: Sequence[Mapping[str, Any]], summary: Mapping[str, Any], config: Mapping[str, Any]
) -> str:
  """The report of one run.

  Args:
    rows: in data set order.
    summary: of these rows.
    config: as `config.json` holds it.
  """
  asked = config['users']
  counts = f'{summary["n_ok"]} ok, {summary["n_failed"]} failed, {summary["n_skipped"]} skipped'
  parts = [f'# {summary["model"]}: users\' clicks', f'Instances: {counts}. IoU and NSR are x100.']
  if summary['users']:
    names = list(summary['users'])
    parts += [
      '## First clicks',
      'Mean, standard deviation and NSR = std / mean are taken over the clicks on an instance and '
      'averaged over instances (RClicks\' User@1); D is highest - lowest IoU. Std, NSR and D count '
      'instances with 2 or more clicks. Intervals: 95 %, bootstrap over instances.',
      _first_clicks(summary),
      *(f'![Spread per instance]({spread_name(name)})' for name in names if name != ON_OBJECT),
      '## Distance to the robot user\'s click',
      _away(summary),
      '![Distance to the robot user](figures/distance.png)',
    ]
    if any(one['attacks'] for one in summary['users'].values()):
      parts += [
        '## Outcomes inside [MIN@1, MAX@1]',
        'Share of clicks whose IoU an attack\'s first round spans, in %. D, of users and '
        'of the attack alike, counts instances with 2 or more clicks.',
        _intervals(summary),
      ]
  if summary['trajectories']:
    parts += [
      f'## {summary["num_clicks"]} rounds of clicks',
      f'`base` is the robot user. NoC@90 is {summary["num_clicks"]} where 90 is never reached.',
      _walks(summary),
    ]
  if summary['groups']:
    parts += [
      f'The groups are slices of the probability mass of the click prior `{asked["groups"]}`, G1 '
      'the least likely clicks, by RClicks\' rule. **The prior stands in for RClicks\' learned '
      'clickability model: these numbers are not RClicks\' and do not compare with published '
      'ones.** Deltas are means over instances of ratios, positive where users need more clicks.',
      _group_lines(summary['groups']),
    ]
  if summary['trajectories']:
    parts.append('![Users over rounds](figures/rounds.png)')
  if asked['clicks']:
    parts.append(_file(asked['clicks'], summary))
  if summary['n_ok'] < len(rows):
    parts.append(troubles(rows))
  parts.append(facts(summary, config))
  return '\n\n'.join(parts) + '\n'


def spread_name(source: str) -> str:
  """The file of a source's figure, in the work folder."""
  return f'figures/spread_{source}.png'
