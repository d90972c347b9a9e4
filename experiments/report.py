"""Merges finished work folders and compares their runs: tables, figures, one page to look at.

  python -m experiments.report --workdirs=runs/mine
  python -m experiments.report --workdirs=runs/mine --heatmaps=runs/maps
  python -m experiments.report --workdirs=runs/a,runs/b/shard-00000-of-00002,'runs/c*' --out=report

A work folder is a whole run, one shard of a run, or the folder that holds all shards. Shards must
be all there, once, and of one configuration. Of one run, rows.jsonl, summary.json, report.md and
figures/ lie in --out itself, of several in a folder each below it. Beside them: report.html,
comparison.md, comparison.csv, comparison.tex and comparison.json. All of these but the page's facts
are the same bytes for shards as for one run; how fast it ran is in speed.json. Ends with 0, with 2
when something does not merge or cannot be written, and with 130 when interrupted.
"""

from __future__ import annotations

import dataclasses
import glob
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.lib import launch
from experiments.lib import settings as lib
from tetris_jax.report.attack import write
from tetris_jax.report.comparison import compare, page
from tetris_jax.report.comparison import tables as overview
from tetris_jax.report.heatmaps import summary as heatmaps
from tetris_jax.runs import merge
from tetris_jax.runs import workdirs as results

__all__ = ['Settings', 'execute', 'main', 'report']


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(lib.Plugins):
  """What may be asked of a report; see this program's `--help`."""

  workdirs: tuple[str, ...] = lib.setting(
    (), 'Work folders, by commas; patterns are expanded.', path=True
  )
  heatmaps: tuple[str, ...] = lib.setting(
    (), 'Work folders of experiments.heatmap, for the page.', path=True
  )
  out: str = lib.setting('report', 'Folder that everything is written into.', path=True)
  pictures_per_run: int = lib.setting(
    12, 'How many of the most fragile instances of a run the page shows.', least=0
  )

  @property
  def doing(self) -> str:
    """What the program is asked to do."""
    return f'report: {", ".join(self.workdirs)} -> {self.out}'


def _write_run(run: merge.Run, folder: pathlib.Path) -> dict[str, Any]:
  """Writes a merged run as a work folder and returns its summary."""
  for place in (folder, folder / 'figures'):
    place.mkdir(parents=True, exist_ok=True)
  workdir = results.Workdir(folder)
  workdir.write_json('config.json', run.config)
  workdir.write_json('instances.json', {'instances': run.instances})
  rows = workdir.write_rows([row['instance'] for row in run.rows], run.rows)

  def picture(instance: str) -> pathlib.Path | None:
    file = run.pictures.get(instance)
    if file is None:
      return None
    # Copied, so that the report can be moved and does not tell where its shards lay.
    place = pathlib.Path('figures') / file.name
    results.write_atomically(folder / place, file.read_bytes())
    return place

  return write.write_run(workdir, rows, run.config, run.totals, picture, speed_apart=True)


def _expanded(paths: Sequence[str]) -> list[pathlib.Path]:
  """Folders by name, or by a pattern."""
  found: list[pathlib.Path] = []
  for path in paths:
    pattern = glob.has_magic(path) and not pathlib.Path(path).exists()
    found += map(pathlib.Path, sorted(glob.glob(path)) if pattern else [path])
  return found


def report(
  workdirs: Sequence[str],
  out: str | os.PathLike[str],
  pictures_per_run: int,
  maps: Sequence[str] = (),
) -> list[Mapping[str, Any]]:
  """Merges, compares and writes; returns the rows of all runs.

  Args:
    workdirs: as --workdirs has them.
    out: folder for everything.
    pictures_per_run: of the most fragile instances, on the page.
    maps: work folders of experiments.heatmap, for the page.

  Raises:
    results.WorkdirError: something is missing, does not merge or cannot be written.
  """
  if not workdirs:
    raise results.WorkdirError('--workdirs names no work folder')
  root = pathlib.Path(out)
  folders = merge.find_workdirs(workdirs, '--workdirs')
  taken = {folder.resolve() for folder in folders}
  taken |= {folder.resolve().parent for folder in folders if folder.name.startswith('shard-')}
  if root.resolve() in taken:
    raise results.WorkdirError(f'--out={out} holds work folders; name another folder')
  runs = merge.collect(folders)
  mapped = [heatmaps.read_heatmaps(folder, '--heatmaps') for folder in _expanded(maps)]
  try:
    root.mkdir(parents=True, exist_ok=True)
    targets = [root if len(runs) == 1 else root / run.name for run in runs]
    summaries = [_write_run(run, folder) for run, folder in zip(runs, targets, strict=True)]
  except OSError as error:
    raise results.WorkdirError(f'--out={out} cannot be written: {error}') from error
  lines = compare.overview(runs, summaries)
  orders, pairs = compare.orders(lines), compare.pairs(runs)
  html = page.render(runs, summaries, lines, orders, pairs, pictures_per_run, mapped)
  for name, text in (
    ('comparison.md', overview.as_markdown(lines, orders, pairs)),
    ('comparison.csv', overview.as_csv(lines)),
    ('comparison.tex', overview.as_latex(lines)),
    ('report.html', html),
  ):
    results.write_atomically(root / name, text.encode(errors='replace'))
  results.Workdir(root).write_json(
    'comparison.json',
    {'runs': lines, 'orders': orders, 'pairs': pairs, 'shares': heatmaps.shares(mapped)},
  )
  print(f'{len(runs)} run{"" if len(runs) == 1 else "s"} merged\n{root / "report.html"}')
  return [row for run in runs for row in run.rows]


def execute(settings: Settings) -> int:
  """Makes the report; returns the exit status. Raises results.WorkdirError as `report`."""
  asked = settings.workdirs, settings.out, settings.pictures_per_run, settings.heatmaps
  return launch.merged_status(report(*asked), pathlib.Path(settings.out) / 'comparison.md')


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the program; returns the exit status that the module's docstring lists."""
  return launch.run(__doc__, Settings, execute, argv)


if __name__ == '__main__':
  sys.exit(main())
