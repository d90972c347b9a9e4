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
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.lib import launch
from experiments.lib import settings as lib
from tetris_jax.report import pictures, style, summaries
from tetris_jax.report.attack import summary as attack_summary
from tetris_jax.report.attack import write
from tetris_jax.report.comparison import common, compare, page
from tetris_jax.report.comparison import tables as overview
from tetris_jax.report.heatmaps import explorer
from tetris_jax.report.heatmaps import summary as heatmaps
from tetris_jax.runs import files, merge, pieces, staging
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
  users: tuple[str, ...] = lib.setting(
    (), 'Work folders of experiments.users, whose clicks the pages of heat maps show.', path=True
  )
  out: str = lib.setting('report', 'Folder that everything is written into.', path=True)
  pictures_per_run: int = lib.setting(
    12, 'How many of the most fragile instances of a run the page shows.', least=0
  )

  @property
  def doing(self) -> str:
    """What the program is asked to do."""
    return f'report: {", ".join(self.workdirs)} -> {self.out}'


def _write_run(
  run: merge.Run, folder: pathlib.Path, read: pictures.Reader
) -> dict[str, Any]:
  """Writes a merged run as a work folder and returns its summary."""
  for place in (folder, folder / 'figures'):
    place.mkdir(parents=True, exist_ok=True)
  workdir = results.Workdir(folder)
  workdir.write_json('config.json', run.config)
  workdir.write_json('instances.json', {'instances': run.instances})
  rows = workdir.write_rows([row['instance'] for row in run.rows], run.rows)

  def picture(instance: str) -> pathlib.Path | None:
    file = run.pictures.get(instance)
    found = None if file is None else read(file)
    if file is None or found is None:
      return None
    # Copied, so that the report can be moved and does not tell where its shards lay.
    place = pathlib.Path('figures') / file.name
    results.write_atomically(folder / place, found.data)
    return place

  return write.write_run(workdir, rows, run.config, run.totals, picture, speed_apart=True)


def _summarised(run: merge.Run) -> dict[str, Any]:
  """The summary of a run's rows with the speed of all that it did."""
  clicks = run.config['preset']['num_clicks']
  made = attack_summary.summarise(run.rows, run.model, run.preset, clicks)
  return made | summaries.speed(run.totals)


@dataclasses.dataclass(frozen=True)
class _Compared:
  """What stands side by side.

  Attributes:
    runs: as they compare, see `common.on_common`, with their summaries.
    maps: likewise, of heat maps.
    users: runs of users' clicks.
    pairs: of `compare.pairs`.
    notes: on how far all this compares.
  """

  runs: Sequence[tuple[merge.Run, Mapping[str, Any]]]
  maps: Sequence[heatmaps.HeatMaps]
  users: Sequence[merge.Run]
  pairs: Sequence[Mapping[str, Any]]
  notes: Sequence[str]

  def write(self, folder: pathlib.Path, pictures_per_run: int, read: pictures.Reader) -> None:
    """Writes the tables and the page."""
    runs, found = [run for run, _ in self.runs], [summary for _, summary in self.runs]
    lines = compare.overview(runs, found)
    orders = compare.orders(lines)
    explorers = self._explore(runs, folder, pictures_per_run, read)
    html = page.render(
      runs, found, lines, orders, self.pairs, pictures_per_run, self.maps,
      notes=self.notes, read=read, explorers=explorers,
    )  # fmt: skip
    for name, text in (
      ('comparison.md', overview.as_markdown(lines, orders, self.pairs, self.notes)),
      ('comparison.csv', overview.as_csv(lines)),
      ('comparison.tex', overview.as_latex(lines, self.notes)),
      ('report.html', html),
    ):
      results.write_atomically(folder / name, text.encode(errors='replace'))
    shares = heatmaps.shares(self.maps)
    document = {'runs': lines, 'orders': orders, 'pairs': self.pairs, 'shares': shares}
    told = {'notes': self.notes} if self.notes else {}
    results.Workdir(folder).write_json('comparison.json', {**document, **told})

  def _explore(
    self,
    runs: Sequence[merge.Run],
    folder: pathlib.Path,
    pictures_per_run: int,
    read: pictures.Reader,
  ) -> list[str]:
    """Writes a page to explore each of the maps; returns their names, '' where none is shown."""
    names = explorer.file_names(self.maps)
    for number, one in enumerate(self.maps):
      others = explorer.beside(one, runs, self.users)
      made = explorer.render(one, pictures_per_run, others=others, read=read)
      if made is None:
        names[number] = ''
      else:
        results.write_atomically(folder / names[number], made.encode())
    return names


def report(
  workdirs: Sequence[str],
  out: str | os.PathLike[str],
  pictures_per_run: int,
  maps: Sequence[str] = (),
  users: Sequence[str] = (),
) -> list[Mapping[str, Any]]:
  """Merges, compares and writes; returns the rows of all runs.

  Args:
    workdirs: as --workdirs has them.
    out: folder for everything; written whole, or left as it is.
    pictures_per_run: of the most fragile instances, on the page.
    maps: work folders of experiments.heatmap, for the page.
    users: work folders of experiments.users, for the pages of maps.

  Raises:
    results.WorkdirError: something is missing, does not merge or cannot be written.
  """
  if not workdirs:
    raise results.WorkdirError('--workdirs names no work folder')
  root, called, read = pathlib.Path(out), f'--out={out}', pictures.Reader()
  folders = merge.find_workdirs(workdirs, '--workdirs')
  mapped = [merge.find_workdirs([place], '--heatmaps') for place in pieces.expanded(maps)]
  clicked = merge.find_workdirs(users, '--users')
  sources = [*folders, *clicked, *(folder for some in mapped for folder in some)]
  staging.check_apart([root], sources, called)
  runs = merge.collect(folders)
  maps_of = [merge.merge([merge.read_piece(one, 'heatmap') for one in some]) for some in mapped]
  users_of = merge.collect(clicked, 'users')
  names = [''] if len(runs) == 1 else files.distinct_names([run.name for run in runs])
  staging.check_apart([root / name for name in names], sources, called)
  shown, said = common.on_common(runs)
  shown_maps, said_of_maps = common.on_common(maps_of)
  said += common.notes(runs)
  said += [f'Heat maps: {note}' for note in said_of_maps + common.notes(maps_of)]
  with staging.staged(root, called) as made:
    whole = [_write_run(run, made / name, read) for run, name in zip(runs, names, strict=True)]
    found = [
      summary if one is run else _summarised(one)
      for run, one, summary in zip(runs, shown, whole, strict=True)
    ]
    compared = _Compared(
      list(zip(shown, found, strict=True)),
      [heatmaps.of_run(run) for run in shown_maps],
      users_of,
      compare.pairs(runs, shown),
      said,
    )
    compared.write(made, pictures_per_run, read)
  told = style.plain(root / 'report.html')
  print(f'{len(runs)} run{"" if len(runs) == 1 else "s"} merged\n{told}')
  return [row for run in runs for row in run.rows]


def execute(settings: Settings) -> int:
  """Makes the report; returns the exit status. Raises results.WorkdirError as `report`."""
  pictures_per_run, maps, users = settings.pictures_per_run, settings.heatmaps, settings.users
  asked = settings.workdirs, settings.out, pictures_per_run, maps, users
  return launch.merged_status(report(*asked), pathlib.Path(settings.out) / 'comparison.md')


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the program; returns the exit status that the module's docstring lists."""
  return launch.run(__doc__, Settings, execute, argv)


if __name__ == '__main__':
  sys.exit(main())
