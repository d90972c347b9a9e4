"""One HTML file with everything to look at: no network, no other file, readable on a phone."""

from __future__ import annotations

import base64
import io
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from tetris_jax.report import compare
from tetris_jax.report.merge import Run

__all__ = ['MAX_PICTURE_BYTES', 'render']

# Of all pictures on the page, encoded; with the numbers of 100 instances it stays below 10 MB.
MAX_PICTURE_BYTES = 7_000_000

_WIDTH = 1000
_QUALITY = 80
_MOST_REASONS = 50
_TEMPLATE = pathlib.Path(__file__).parent / 'page.html'


def render(
  runs: Sequence[Run],
  summaries: Sequence[Mapping[str, Any]],
  lines: Sequence[Mapping[str, Any]],
  orders: Sequence[Mapping[str, Any]],
  pairs: Sequence[Mapping[str, Any]],
  pictures_per_run: int = 12,
) -> str:
  """The page.

  The most fragile instances of each run, those of the largest D, are shown as pictures where the
  run has drawn them and until `MAX_PICTURE_BYTES` are spent; the runs take turns.

  Args:
    runs: whole runs.
    summaries: of each.
    lines: of `tetris_jax.report.compare.overview`, one a run.
    orders: of `compare.orders`.
    pairs: of `compare.pairs`.
    pictures_per_run: at most.
  """
  scores = [compare.instance_scores(run) for run in runs]
  drawn = _pictures(runs, scores, pictures_per_run)
  held = {
    'runs': [
      _run(run, summaries[index], lines[index], scores[index], drawn[index])
      for index, run in enumerate(runs)
    ],
    'orders': list(orders),
    'pairs': list(pairs),
    'quality': compare.QUALITY,
  }
  # No text of a file name or a reason may end the script element.
  text = json.dumps(held, allow_nan=False, separators=(',', ':')).replace('<', '\\u003c')
  return _TEMPLATE.read_text('utf-8').replace('{{DATA}}', text)


def _run(
  run: Run,
  summary: Mapping[str, Any],
  line: Mapping[str, Any],
  scores: Mapping[str, Mapping[str, float | None]],
  pictures: Mapping[str, str],
) -> dict[str, Any]:
  flags, devices, versions = (run.config[key] for key in ('flags', 'devices', 'versions'))
  speed = summary['evaluations_per_second']
  bad = [row for row in run.rows if row['status'] != 'ok']
  facts = [
    ['Instances', f'{line["n"]} ok, {line["n_failed"]} failed, {line["n_skipped"]} skipped'],
    *([f'Weights {name}', f'sha256 {sha}'] for name, sha in run.config['model']['sha256'].items()),
    ['Flags', ', '.join(f'{key} {value}' for key, value in flags.items() if value)],
    ['Preset', ', '.join(f'{key} {value}' for key, value in run.config['preset'].items())],
    ['Evaluations', f'{summary["forward"]} forward, {summary["backward"]} with gradient'],
    ['Speed', 'unknown' if speed is None else f'{speed:.1f} evaluations/s, compiling aside'],
    ['Device', f'{devices["count"]} x {devices["kind"]} ({devices["platform"]})'],
    ['Versions', ', '.join(f'{key} {value}' for key, value in versions.items())],
  ]
  return {
    **line,
    'curves': summary['per_click'],
    'instances': [
      [_shown(name), *(_short(one[key]) for key in ('d', 'auc', 'min', 'base', 'max'))]
      for name, one in scores.items()
    ],
    'pictures': [[_shown(name), source] for name, source in pictures.items()],
    'reasons': [[_shown(row[key]) for key in ('instance', 'status', 'reason')] for row in bad][
      :_MOST_REASONS
    ],
    'facts': [[name, _shown(value)] for name, value in facts],
  }


def _shown(text: str) -> str:
  """Text that UTF-8 can hold; file names need not."""
  return str(text).encode(errors='replace').decode()


def _short(value: float | None) -> float | None:
  return None if value is None else round(value, 4)


def _pictures(
  runs: Sequence[Run],
  scores: Sequence[Mapping[str, Mapping[str, float | None]]],
  most: int,
) -> list[dict[str, str]]:
  """Data URLs of each run's most fragile instances, by name; without a search the worst ones."""
  ordered = []
  for run, found in zip(runs, scores, strict=True):
    known = [name for name in found if name in run.pictures]
    key = lambda name, found=found: (
      -found[name]['auc'] if found[name]['d'] is None else found[name]['d']
    )
    ordered.append(sorted(known, key=key, reverse=True)[:most])
  out: list[dict[str, str]] = [{} for _ in runs]
  spent = 0
  for turn in range(max(most, 0)):
    for index, run in enumerate(runs):
      if turn >= len(ordered[index]):
        continue
      source = _data_url(run.pictures[ordered[index][turn]])
      if spent + len(source) > MAX_PICTURE_BYTES:
        return out
      spent += len(source)
      out[index][ordered[index][turn]] = source
  return out


def _data_url(file: pathlib.Path) -> str:
  from PIL import Image

  with Image.open(file) as image:
    rgb = image.convert('RGB')
    if rgb.width > _WIDTH:
      height = max(1, round(rgb.height * _WIDTH / rgb.width))
      rgb = rgb.resize((_WIDTH, height), Image.Resampling.LANCZOS)
    encoded = io.BytesIO()
    rgb.save(encoded, 'JPEG', quality=_QUALITY, optimize=True)
  return 'data:image/jpeg;base64,' + base64.b64encode(encoded.getvalue()).decode()
