"""Writes finished attacks for other tools: tables for pandas and the like, masks for COCO's.

  python -m experiments.export --workdirs=runs/mine --out=export

Work folders are given as to experiments.report. Into --out go `rows.parquet` (a line an instance),
`clicks.parquet` (a line a click) and, where users were sampled, `users.parquet`. Of runs that kept
their masks (--masks of experiments.attack), `annotations.json` and `results_min.json`,
`results_base.json` and `results_max.json` are the objects and the masks after the last click as
COCO has them; of several runs they lie in a folder each. Needs pyarrow and pycocotools:
`pip install 'tetris_jax[table,coco]'`. Ends with 0, with 2 when something cannot be read or
written, and with 130 when interrupted.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.lib import launch
from experiments.lib import settings as lib
from experiments.lib.settings import UsageError
from tetris_jax.report import style
from tetris_jax.report.export import arrow, coco
from tetris_jax.report.summaries import measured
from tetris_jax.runs import files, merge, staging
from tetris_jax.runs import workdirs as results
from tetris_jax.scores.table import ORDER

__all__ = ['Settings', 'execute', 'main']


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(lib.Plugins):
  """What may be asked of an export; see this program's `--help`."""

  workdirs: tuple[str, ...] = lib.setting(
    (), 'Work folders of experiments.attack, by commas; patterns are expanded.', path=True
  )
  out: str = lib.setting('export', 'Folder that tables and masks are written into.', path=True)
  tables: bool = lib.setting(True, 'Writes rows and clicks as Parquet.')
  coco: bool = lib.setting(True, "Writes masks as COCO's results, of runs that kept theirs.")

  @property
  def doing(self) -> str:
    """What the program is asked to do."""
    return f'export: {", ".join(self.workdirs)} -> {self.out}'


def _require(module: str, flag: str, extra: str) -> None:
  if importlib.util.find_spec(module) is None:
    raise UsageError(
      f'--{flag} needs {module}: pip install "tetris_jax[{extra}]", or leave it out by --no{flag}'
    )


def _write_json(path: pathlib.Path, value: Any) -> None:
  results.write_atomically(path, json.dumps(value, allow_nan=False).encode() + b'\n')


def _write_tables(runs: Sequence[merge.Run], folder: pathlib.Path) -> None:
  import pyarrow.parquet

  for name, table in (
    ('rows', arrow.rows_table(runs)),
    ('clicks', arrow.clicks_table(runs)),
    ('users', arrow.users_table(runs)),
  ):
    if name == 'users' and not table.num_rows:
      continue
    file = io.BytesIO()
    pyarrow.parquet.write_table(table, file)
    results.write_atomically(folder / f'{name}.parquet', file.getvalue())


def _write_masks(
  run: merge.Run, found: Mapping[str, Mapping[str, pathlib.Path]], folder: pathlib.Path
) -> None:
  folder.mkdir(parents=True, exist_ok=True)
  _write_json(folder / 'annotations.json', coco.objects(run, found))
  for mode in ORDER:
    made = coco.results(run, found, mode)
    if made is not None:
      _write_json(folder / f'results_{mode}.json', made)


def execute(settings: Settings) -> int:
  """Reads and writes; returns the exit status.

  Raises:
    UsageError: an extra is not installed, or nothing is asked for.
    results.WorkdirError: something is missing, does not merge or cannot be written.
  """
  if not settings.workdirs:
    raise UsageError('--workdirs names no work folder')
  if not (settings.tables or settings.coco):
    raise UsageError('--notables --nococo leaves nothing to write')
  folders = merge.find_workdirs(settings.workdirs, '--workdirs')
  root, called = pathlib.Path(settings.out), f'--out={settings.out}'
  staging.check_apart([root], folders, called)
  runs = merge.collect(folders)
  found: list[dict[str, dict[str, pathlib.Path]]] = [{} for _ in runs]
  if settings.tables:
    _require('pyarrow', 'tables', 'table')
  if settings.coco:
    pieces = [merge.read_piece(folder) for folder in folders]
    for number, run in enumerate(runs):
      own = [one for one in pieces if one.name == (run.model, run.dataset, run.preset)]
      found[number] = coco.find_masks(own)
      count = len(measured(run.rows))
      if absent := count - len(found[number]):
        told = f'{style.short(run.name)}: {absent} of {count} measured instances have no masks'
        print(f"note: {told}; give the run's command again with --masks", file=sys.stderr)
    if any(found):
      _require('pycocotools', 'coco', 'coco')
  names = [''] if len(runs) == 1 else files.distinct_names([run.name for run in runs])
  with staging.staged(root, called) as made:
    if settings.tables:
      _write_tables(runs, made)
    for run, name, kept in zip(runs, names, found, strict=True):
      if kept:
        _write_masks(run, kept, made / name)
    written = sorted(path.relative_to(made).as_posix() for path in made.rglob('*.*'))
  print('\n'.join(style.plain(root / name) for name in written))
  return launch.DONE


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the program; returns the exit status that the module's docstring lists."""
  return launch.run(__doc__, Settings, execute, argv)


if __name__ == '__main__':
  sys.exit(main())
