"""One HTML file with everything to look at: no network, no other file, readable on a phone."""

from __future__ import annotations

import html
import json
import pathlib
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from tetris_jax.report import embedding, markdown, style
from tetris_jax.report import pictures as pictures_lib
from tetris_jax.report.comparison import compare
from tetris_jax.report.heatmaps.summary import HeatMaps, shares
from tetris_jax.runs.merge import Run
from tetris_jax.scores import table
from tetris_jax.scores.table import NOC, ORDER, ROBUST, STANDARD, Metric

__all__ = ['MAX_PICTURE_BYTES', 'render']

# Of all pictures on the page, encoded; with the numbers of 100 instances it stays below 10 MB.
MAX_PICTURE_BYTES = 7_000_000

_WIDTH = 1000
_MOST_REASONS = 50
_HERE = pathlib.Path(__file__).parent


def render(
  runs: Sequence[Run],
  summaries: Sequence[Mapping[str, Any]],
  lines: Sequence[Mapping[str, Any]],
  orders: Sequence[Mapping[str, Any]],
  pairs: Sequence[Mapping[str, Any]],
  pictures_per_run: int = 12,
  maps: Sequence[HeatMaps] = (),
  *,
  notes: Sequence[str] = (),
  read: pictures_lib.Reader | None = None,
  explorers: Sequence[str] = (),
) -> str:
  """The page.

  The most fragile instances of each run, those of the largest D, are shown as pictures where the
  run has drawn them and until `MAX_PICTURE_BYTES` are spent; the runs take turns.

  Args:
    runs: whole runs.
    summaries: of each.
    lines: of `tetris_jax.report.comparison.compare.overview`, one a run.
    orders: of `compare.orders`.
    pairs: of `compare.pairs`.
    pictures_per_run: at most, and at most as many heat maps of each of `maps`.
    maps: heat maps, which take what the pictures leave, and at least a quarter.
    notes: on how far the runs compare, shown with their scores.
    read: reads pictures; by default one that says on standard error which are left out.
    explorers: files beside the page to explore each of `maps`, or none.
  """
  read = read or pictures_lib.Reader()
  scores = [compare.instance_scores(run) for run in runs]
  fragile = [_fragile(*one, pictures_per_run) for one in zip(runs, scores, strict=True)]
  widest = [dict(list(one.pictures.items())[:pictures_per_run]) for one in maps]
  _, kept = _encoded(widest, MAX_PICTURE_BYTES // 4, read)
  drawn, spent = _encoded(fragile, MAX_PICTURE_BYTES - kept, read)
  mapped, _ = _encoded(widest, MAX_PICTURE_BYTES - spent, read)
  held = {
    'runs': [_run(*one) for one in zip(runs, summaries, lines, scores, drawn, strict=True)],
    'orders': list(orders),
    'pairs': list(pairs),
    'shares': shares(maps),
    'maps': _mapped(maps, mapped),
    'explorers': _links(maps, explorers),
    'cycle': list(style.CYCLE),
    'quality': table.quality_name(table.QUALITY),
  }
  added = [one for one in table.compared('printed') if one not in (STANDARD, ROBUST, NOC)]
  parts = {
    'COLUMNS': ''.join(map(_column, added)),
    'NOTES': _notes(notes),
    'PROFILE': (_HERE / 'profile.js').read_text('utf-8'),
    'DATA': embedding.as_data(held),
  }
  return embedding.filled(_HERE / 'page.html', parts)


def _mapped(
  maps: Sequence[HeatMaps], pictures: Sequence[Mapping[str, str]]
) -> list[dict[str, str]]:
  """Pictures of maps, by name, as the page holds them."""
  return [
    {'model': one.model, 'dataset': one.dataset, 'name': name, 'picture': source}
    for one, sources in zip(maps, pictures, strict=True)
    for name, source in sources.items()
  ]


def _links(maps: Sequence[HeatMaps], names: Sequence[str]) -> list[dict[str, str]]:
  """Where maps can be explored: those that have a file."""
  return [
    {
      'model': one.model,
      'dataset': one.dataset,
      'file': urllib.parse.quote(name, errors='surrogateescape'),
    }
    for one, name in zip(maps, names or [''] * len(maps), strict=True)
    if name
  ]


def _notes(notes: Sequence[str]) -> str:
  """Notes as a list, with the end of the line before; nothing where there is none."""
  if not notes:
    return ''
  told = ''.join(f'\n<li>{html.escape(style.plain(note))}</li>' for note in notes)
  return f'\n<ul class="reasons">{told}\n</ul>'


def _column(metric: Metric) -> str:
  """The page's columns of a metric beyond those that it spells itself, as JavaScript."""
  name, title = json.dumps(metric.name), json.dumps(metric.titled())
  show = {'x100': 'x100', 'clicks': 'plain(2)', 'count': 'plain(0)'}[metric.format]
  title = title.replace('<', '\\u003c')
  if metric.kind == 'range':
    return f'  {{name: {title}, of: (run) => value(run[{name}]), show: {show}}},\n'
  of = f'(run) => run[{name}][mode]'
  return (
    f"  ...modes.map((mode) => ({{name: {title} + ' ' + mode.toUpperCase(), of: {of}, "
    f'show: {show}}})),\n'
  )


def _run(
  run: Run,
  summary: Mapping[str, Any],
  line: Mapping[str, Any],
  scores: Mapping[str, Mapping[str, float | None]],
  pictures: Mapping[str, str],
) -> dict[str, Any]:
  bad = [
    [row['instance'], row['status'], row['reason']] for row in run.rows if row['status'] != 'ok'
  ]
  bad += [
    [row['instance'], 'warning', said] for row in run.rows for said in row.get('warnings', ())
  ]
  return {
    **line,
    'curves': summary['per_click'],
    # Rows of before, and runs that sampled no users, have none.
    'users': summary.get('users'),
    'first': {key: summary[key] for key in ('levels', 'quantiles', 'hidden')},
    'instances': [
      [name, *(_short(one[key]) for key in ('d', 'auc', *ORDER))]
      for name, one in scores.items()
    ],
    'pictures': [[name, source] for name, source in pictures.items()],
    'reasons': bad[:_MOST_REASONS],
    'facts': _facts(run, summary),
  }


def _facts(run: Run, summary: Mapping[str, Any]) -> list[list[str]]:
  flags, devices = run.config['flags'], run.config['devices']
  speed, beyond = summary['evaluations_per_second'], markdown.outside(summary)
  return [
    ['Instances', markdown.counted(summary)],
    *([['Clicks outside', beyond]] if beyond else []),
    *([f'Weights {name}', f'sha256 {sha}'] for name, sha in run.config['model']['sha256'].items()),
    ['Flags', markdown.listed({key: value for key, value in flags.items() if value})],
    ['Preset', markdown.listed(run.config['preset'])],
    ['Evaluations', f'{summary["forward"]} forward, {summary["backward"]} with gradient'],
    ['Speed', 'unknown' if speed is None else f'{speed:.1f} evaluations/s, compiling aside'],
    ['Device', f'{devices["count"]} x {devices["kind"]} ({devices["platform"]})'],
    ['Versions', markdown.listed(run.config['versions'])],
  ]


def _short(value: float | None) -> float | None:
  return None if value is None else round(value, 4)


def _fragile(
  run: Run, found: Mapping[str, Mapping[str, float | None]], most: int
) -> dict[str, pathlib.Path]:
  """Pictures of a run's most fragile instances, by name; without a search of the worst ones."""

  def fragility(name: str) -> float:
    difference, auc = found[name]['d'], found[name]['auc']
    return -(auc or 0.0) if difference is None else difference

  known = [name for name in found if name in run.pictures]
  return {name: run.pictures[name] for name in sorted(known, key=fragility, reverse=True)[:most]}


def _encoded(
  files: Sequence[Mapping[str, pathlib.Path]], budget: int, read: pictures_lib.Reader
) -> tuple[list[dict[str, str]], int]:
  """Data URLs of pictures until `budget` bytes are spent, group after group in turns."""
  out: list[dict[str, str]] = [{} for _ in files]
  spent = 0
  for turn in range(max(map(len, files), default=0)):
    for group, sources in zip(files, out, strict=True):
      if turn >= len(group):
        continue
      name = list(group)[turn]
      picture = read(group[name])
      if picture is None:
        continue
      source = embedding.jpeg_url(picture.image, width=_WIDTH)
      if spent + len(source) > budget:
        return out, spent
      spent += len(source)
      sources[name] = source
  return out, spent
