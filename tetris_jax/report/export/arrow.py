"""Rows of attacks as tables of Apache Arrow, for Parquet and what reads it; needs pyarrow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tetris_jax.report import style
from tetris_jax.report.comparison import compare
from tetris_jax.report.summaries import measured
from tetris_jax.runs.merge import Run
from tetris_jax.scores.table import ORDER, STANDARD

__all__ = ['clicks_table', 'rows_table', 'users_table']


def _run(run: Run) -> dict[str, str]:
  named = {'model': run.model, 'dataset': run.dataset, 'preset': run.preset}
  return {key: style.plain(value) for key, value in named.items()}


def _table(lines: Sequence[Mapping[str, Any]], fields: Mapping[str, Any]) -> Any:
  import pyarrow

  schema = pyarrow.schema({
    'model': pyarrow.string(), 'dataset': pyarrow.string(), 'preset': pyarrow.string(),
    'instance': pyarrow.string(), **fields,
  })  # fmt: skip
  return pyarrow.Table.from_pylist(list(lines), schema=schema)


def rows_table(runs: Sequence[Run]) -> Any:
  """All rows, one an instance, also of those without numbers.

  Columns: model, dataset, preset, instance, status, reason, height and width in pixels, auc_min,
  auc_base and auc_max (IoU-AuC in [0, 1]), d (that of MAX less that of MIN), the lists iou_min to
  biou_max (after each click), forward and backward (evaluations), hidden, warnings.

  Args:
    runs: of attacks.

  Returns:
    pyarrow.Table; what an instance does not have is null.
  """
  import pyarrow

  number, text, count = pyarrow.float64(), pyarrow.string(), pyarrow.int64()
  curves = [(field, mode) for field in ('iou', 'biou') for mode in ORDER]
  fields = {
    'status': text, 'reason': text, 'height': count, 'width': count,
    **{f'auc_{mode}': number for mode in ORDER}, 'd': number,
    **{f'{field}_{mode}': pyarrow.list_(number) for field, mode in curves},
    'forward': count, 'backward': count, 'hidden': number, 'warnings': pyarrow.list_(text),
  }  # fmt: skip
  lines = []
  for run in runs:
    scores = compare.instance_scores(run)
    for row in run.rows:
      height, width = row['size'] or (None, None)
      line = {
        **_run(run),
        **{key: style.plain(row[key]) for key in ('instance', 'status', 'reason')},
        'height': height,
        'width': width,
      }
      if row['status'] == 'ok':
        line |= {f'{field}_{mode}': row[field][mode] for field, mode in curves}
        line |= {f'auc_{mode}': _auc(row['iou'][mode]) for mode in ORDER}
        line |= {key: row.get(key) for key in ('forward', 'backward', 'hidden')}
        line['d'] = scores[row['instance']]['d']
        line['warnings'] = [style.plain(said) for said in row.get('warnings', ())]
      lines.append(line)
  return _table(lines, fields)


def _auc(curve: Sequence[float] | None) -> float | None:
  return None if curve is None else float(STANDARD.score(curve))


def _clicks(runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
  for run in runs:
    for row in measured(run.rows):
      for mode in (mode for mode in ORDER if row['iou'][mode] is not None):
        scores = row['clicks'][mode], row['iou'][mode], row['biou'][mode]
        for number, ((y, x, label), iou, biou) in enumerate(zip(*scores, strict=True), 1):
          yield {
            **_run(run), 'instance': style.plain(row['instance']), 'mode': mode, 'click': number,
            'y': y, 'x': x, 'label': label, 'iou': iou, 'biou': biou,
          }  # fmt: skip


def clicks_table(runs: Sequence[Run]) -> Any:
  """All clicks, one a line.

  Columns: model, dataset, preset, instance, mode ("min", "base" or "max"), click (from 1), y and x
  (image pixels, centres at integers), label (1 positive, 0 negative), iou and biou after it.

  Args:
    runs: of attacks.

  Returns:
    pyarrow.Table.
  """
  import pyarrow

  number, count = pyarrow.float64(), pyarrow.int64()
  fields = {
    'mode': pyarrow.string(), 'click': count, 'y': number, 'x': number, 'label': count,
    'iou': number, 'biou': number,
  }  # fmt: skip
  return _table(list(_clicks(runs)), fields)


def _users(runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
  for run in runs:
    for row in (row for row in measured(run.rows) if row.get('users')):
      made = row['users']
      each = made['auc']['iou'], made['auc']['biou'], made['first'], made['iou']
      for number, (iou, biou, (y, x), curve) in enumerate(zip(*each, strict=True), 1):
        yield {
          **_run(run), 'instance': style.plain(row['instance']), 'prior': made['prior'],
          'user': number, 'auc_iou': iou, 'auc_biou': biou, 'y': y, 'x': x, 'iou': curve,
        }  # fmt: skip


def users_table(runs: Sequence[Run]) -> Any:
  """The sampled users of all instances, one a line; no lines where no run sampled any.

  Columns: model, dataset, preset, instance, prior, user (from 1), auc_iou and auc_biou of its
  trajectory, y and x of its first click, and the list iou (after each click).

  Args:
    runs: of attacks.

  Returns:
    pyarrow.Table.
  """
  import pyarrow

  number = pyarrow.float64()
  fields = {
    'prior': pyarrow.string(), 'user': pyarrow.int64(), 'auc_iou': number, 'auc_biou': number,
    'y': number, 'x': number, 'iou': pyarrow.list_(number),
  }  # fmt: skip
  return _table(list(_users(runs)), fields)
