"""The report of users' clicks that a person reads: scores of one run as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tetris_jax.report import markdown, style
from tetris_jax.report.style import interval, two_decimals, whole, x100
from tetris_jax.report.users.summary import FILE, ON_OBJECT, OTHER_CAUSES, mostly_missed
from tetris_jax.runs import files
from tetris_jax.scores import table
from tetris_jax.scores.table import NOC, NOF, STANDARD

__all__ = ['SEVERAL', 'report', 'spread_names']

SEVERAL = 'n with 2 or more clicks'
"""The column of how many instances standard deviation, NSR and D count."""


def spread_names(summary: Mapping[str, Any]) -> dict[str, str]:
  """The files of the sources' figures in the work folder, by source."""
  sources = [source for source in summary['users'] if source != ON_OBJECT]
  names = files.distinct_names(sources)
  return {
    source: f'figures/spread_{name}.png' for source, name in zip(sources, names, strict=True)
  }


def _first_clicks(summary: Mapping[str, Any]) -> str:
  head = ['Clicks from', 'Robot', 'Mean', style.INTERVAL, 'Std', 'NSR', 'D', 'Below robot']
  lines = [
    [markdown.cell(source), x100(one['robot']['value']), x100(one['mean']['value'])]
    + [interval(one['mean'])]
    + [x100(one[key]['value']) for key in ('std', 'nsr', 'd', 'below_robot')]
    + [str(one['n']), str(one['d']['n']), str(one['n_clicks'])]
    for source, one in summary['users'].items()
  ]
  return markdown.table([*head, 'n', SEVERAL, 'clicks'], lines)


def _away(summary: Mapping[str, Any]) -> str:
  head = ['Clicks from', 'mean, px', 'median, px', '90 %, px']
  head += ['mean, % of diagonal', 'median, %', '90 %, %', 'clicks']
  lines = []
  for source, one in summary['users'].items():
    pixels, parts = one['distance_pixels'], one['distance_diagonal']
    numbers = [f'{pixels[key]:.1f}' for key in ('mean', 'median', 'q90')]
    numbers += [x100(parts[key]) for key in ('mean', 'median', 'q90')]
    lines.append([markdown.cell(source), *numbers, str(one['n_clicks'])])
  return markdown.table(head, lines)


def _intervals(summary: Mapping[str, Any]) -> str:
  head = ['Clicks from', 'Preset', 'Inside', 'Below MIN@1', 'Above MAX@1', 'Mean of instances']
  head += [style.INTERVAL, 'User D', 'Attack D@1', 'Attack D', 'n', SEVERAL, 'clicks']
  lines = []
  for source, one in summary['users'].items():
    for preset, found in one['attacks'].items():
      shares = [x100(found[key]) for key in ('inside', 'below', 'above')]
      each = found['inside_per_instance']
      scores = [x100(found[key]['value']) for key in ('user_d', 'attack_d1', 'attack_d')]
      lines.append(
        [markdown.cell(source), markdown.code(preset), *shares, x100(each['value'])]
        + [interval(each), *scores]
        + [str(each['n']), str(found['user_d']['n']), str(found['n_clicks'])]
      )
  return markdown.table(head, lines)


def _walks(summary: Mapping[str, Any]) -> str:
  lines = []
  for name, one in summary['trajectories'].items():
    noc, auc = one['noc90'], one['iou_auc']
    lines.append(
      [markdown.cell(name), two_decimals(noc['value']), whole(one['nof90']), x100(auc['value'])]
      + [interval(auc), str(noc['n'])]
    )
  titles = [metric.titled() for metric in (NOC, NOF, STANDARD)]
  return markdown.table(['User', *titles, style.INTERVAL, 'n'], lines)


def _group_lines(groups: Mapping[str, Any]) -> str:
  noc, auc = NOC.titled(), STANDARD.titled()
  clicks = f'{groups["mean"]["value"]:.2f} ± {groups["std"]["value"]:.2f}'
  lines = [
    [f'{noc}, mean ± std', clicks, str(groups['mean']['n'])],
    [f'Delta-Base of {noc}, %', x100(groups['delta_base']['value']), str(groups['mean']['n'])],
    [f'Delta G1-G10 of {noc}, %', x100(groups['delta_groups']['value']), str(groups['mean']['n'])],
    [
      f'{auc}, mean ± std',
      f'{x100(groups["iou_auc"]["value"])} ± {x100(groups["iou_auc_std"]["value"])}',
      str(groups['iou_auc']['n']),
    ],
    [f'NSR of {auc}', x100(groups['iou_auc_nsr']['value']), str(groups['iou_auc_nsr']['n'])],
  ]
  return markdown.table(['G1 to G10', '', 'n'], lines)


def _file(about: Mapping[str, Any], summary: Mapping[str, Any], missed: str) -> str:
  """What became of every line of the file; `missed` is why to mistrust it, or ''."""
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
  cells = [[markdown.cell(value) for value in line] for line in lines]
  note = (
    'As in RClicks every first click counts as positive, wherever it lies. Clicks on instances '
    'that have no numbers are in none of these counts.'
  )
  head = f'## The clicks of {markdown.code(about["name"])}'
  warned = [f'**Note: {markdown.cell(missed)}.**'] if missed else []
  said = [f'Note: {markdown.cell(one)}.' for one in about.get('notes', ())]
  table = markdown.table(['', 'clicks', 'first line'], cells)
  return '\n\n'.join([head, *warned, *said, note, table])


def _users(summary: Mapping[str, Any]) -> list[str]:
  """The sections on first clicks."""
  if not summary['users']:
    return []
  parts = [
    '## First clicks',
    'Mean, standard deviation and NSR = std / mean are taken over the clicks on an instance and '
    'averaged over instances (RClicks\' User@1); D is highest - lowest IoU. Std, NSR and D count '
    'instances with 2 or more clicks. Intervals: 95 %, bootstrap over instances.',
    _first_clicks(summary),
    *(markdown.image('Spread per instance', name) for name in spread_names(summary).values()),
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
  return parts


def _rounds(summary: Mapping[str, Any], prior: str | None) -> list[str]:
  """The section on users who walked through all rounds; `prior` is that of the groups."""
  if not summary['trajectories']:
    return []
  parts = [
    f'## {summary["num_clicks"]} rounds of clicks',
    f'`base` is the robot user. {NOC.titled()} is {summary["num_clicks"]} where '
    f'{table.quality_name(table.QUALITY)} is never reached.',
    _walks(summary),
  ]
  if summary['groups']:
    parts += [
      f'The groups are slices of the probability mass of the click prior {markdown.code(prior)}, '
      'G1 the least likely clicks, by RClicks\' rule. **The prior stands in for RClicks\' learned '
      'clickability model: these numbers are not RClicks\' and do not compare with published '
      'ones.** Deltas are means over instances of ratios, positive where users need more clicks.',
      _group_lines(summary['groups']),
    ]
  return [*parts, '![Users over rounds](figures/rounds.png)']


def report(
  rows: Sequence[Mapping[str, Any]],
  summary: Mapping[str, Any],
  config: Mapping[str, Any],
  *,
  cause: str = '',
) -> str:
  """The report of one run as Markdown.

  Args:
    rows: in data set order.
    summary: of these rows.
    config: as `config.json` holds it.
    cause: why most clicks of the file miss their objects, as a clause, where that is known.
  """
  asked = config['users']
  parts = [
    f'# {markdown.cell(summary["model"])}: users\' clicks',
    f'Instances: {markdown.counted(summary)}. IoU and NSR are x100.',
    *_users(summary),
    *_rounds(summary, asked['groups']),
  ]
  if asked['clicks']:
    missed = mostly_missed(rows)
    missed = missed and f'{missed}; {cause or OTHER_CAUSES}'
    parts.append(_file(asked['clicks'], summary, missed))
  if any(row.get('warnings') for row in rows):
    parts.append(markdown.warnings(rows))
  if summary['n_ok'] < len(rows):
    parts.append(markdown.troubles(rows))
  parts.append(markdown.facts(summary, config))
  return markdown.document(parts)
