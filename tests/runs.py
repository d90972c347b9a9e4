"""Whole runs out of thin air, with known scores, for tests of what is written about runs."""

from __future__ import annotations

import io
import json

import numpy as np
from PIL import Image

from tetris_jax.report.attack import summary
from tetris_jax.runs import schema
from tetris_jax.runs import workdirs as results
from tetris_jax.runs.merge import Run


def row(instance, low, base, high):
  """An ok row with constant curves of two clicks."""
  iou = {'min': [low, low], 'base': [base, base], 'max': [high, high]}
  return {
    'instance': instance, 'status': 'ok', 'reason': '', 'size': [20, 30], 'iou': iou, 'biou': iou,
    'clicks': {mode: [[1.0, 2.0, 1]] * 2 for mode in iou}, 'forward': 66, 'backward': 40,
  }  # fmt: skip


def curves(instance, low, base, high, backward=0):
  """An ok row with these curves, None for a mode that was not run, and boundary IoUs of half."""
  iou = {'min': low, 'base': base, 'max': high}
  halves = {mode: curve and [value / 2 for value in curve] for mode, curve in iou.items()}
  return row(instance, 0, 0, 0) | {
    'iou': iou, 'biou': halves, 'clicks': None, 'forward': 30, 'backward': backward,
  }  # fmt: skip


def failed(instance, reason):
  """A row without numbers."""
  return schema.empty_row('attack', instance, 'failed', reason, None)


MIXED = [
  curves('a', [0.1, 0.5], [0.3, 0.9], [0.7, 0.9], backward=20),
  curves('b', [0.2, 0.2], [0.3, 0.4], [0.5, 0.96]),
  failed('c', 'damaged'),
  schema.empty_row('attack', 'd', 'skipped', 'empty', (3, 3)),
  schema.empty_row('attack', 'e', 'skipped', 'empty', (3, 3)),
]
"""Two instances with numbers and three without."""


def make(model, rows, dataset='dev', preset='tetris', pictures=None, seed=0):
  """A run of these rows."""
  config = {
    'flags': {'dataset': 'folder', 'data_dir': f'/x/{dataset}', 'seed': seed, 'batch_size': 2},
    'preset': {'name': preset, 'num_clicks': 2},
    'model': {'name': model, 'threshold': 0.5, 'sha256': {f'{model}.pt': 'ab' * 32}},
    'instances': {'count': len(rows), 'sha256': dataset},
    'versions': {'jax': '0.10.2', 'python': '3.11'},
    'devices': {'platform': 'cpu', 'kind': 'cpu', 'count': 1},
  }
  instances = [[one['instance'], one['size']] for one in rows]
  totals = {'seconds': 2.0, 'compile_seconds': 1.0, 'evaluations': 100.0}
  return Run(model, dataset, preset, config, instances, rows, totals, pictures or {})


def random_rows(count, seed, spread):
  """Rows whose MIN and MAX lie up to `spread` from BASE; the first click hides most of it."""
  rng = np.random.default_rng(seed)
  out = []
  for number in range(count):
    base = np.array([rng.uniform(0.5, 0.9), rng.uniform(0.9, 0.97)])
    away = rng.beta(1, 3, 2) * spread * np.array([1, 0.3])
    made = row(f'picture {number}', 0, 0, 0)
    made['iou'] = {
      'min': np.clip(base - away, 0, 1).tolist(),
      'base': base.tolist(),
      'max': np.clip(base + 0.3 * away, 0, 1).tolist(),
    }
    out.append(made)
  return out


def summarised(run):
  """Its summary as `write_run` makes it."""
  made = summary.summarise(run.rows, run.model, run.preset, 2)
  return made | {'evaluations_per_second': 50.0, 'device_seconds': 2.0, 'compile_seconds': 1.0}


def pixels(png):
  """A PNG file as (height, width, 3) int."""
  return np.asarray(Image.open(io.BytesIO(png)).convert('RGB')).astype(int)


def picture(path, size=(1200, 900), seed=0):
  """Writes a noisy picture (width, height) and returns its path."""
  y, x = np.mgrid[: size[1], : size[0]]
  noise = np.random.default_rng(seed).integers(0, 60, (size[1], size[0], 3))
  colours = np.stack([x % 256, y % 256, (x + y) % 256], -1) // 2 + noise
  Image.fromarray(colours.astype(np.uint8)).save(path)
  return path


def heatmap_folder(folder):
  """Makes a work folder as experiments.heatmap leaves it: two instances, two presets."""
  rows = [
    map_row(0, 0.1, 0.5, {'tetris': 0.1, 'wide': 0.3}),
    map_row(1, 0.1, 0.9, {'tetris': 0.4, 'wide': 1.1}),
  ]
  write_maps(folder, rows)
  for row in rows:
    picture(folder / 'maps' / row['picture'], (900, 500))
  return folder


def map_row(number, low, high, shares, **changes):
  """An ok row of a heat map of instance p<number>."""
  file = f'{number:05d}_p{number}'
  cost = {'forward': 9, 'backward': 0, 'hidden': None}
  presets = {
    name: {'min': low, 'max': high, **cost, 'share_of_range': share}
    for name, share in shares.items()
  }
  return {
    'instance': f'p{number}', 'status': 'ok', 'reason': '', 'size': [20, 30], 'stride': 2,
    'positions': 40, 'legal_pixels': 160, 'left_out': None, 'min': low, 'base': low, 'max': high,
    'presets': presets, 'levels': [], 'quantiles': None, 'map': f'{file}.npz',
    'picture': f'{file}.png',
  } | changes  # fmt: skip


def write_maps(folder, rows, shard=(0, 1), order=None, model='mobile_sam'):
  """A work folder as experiments.heatmap leaves it, without the maps themselves.

  Args:
    folder: where to.
    rows: its own.
    shard: its number and how many there are.
    order: names of all instances of the run; those of the rows if left out.
    model: its name.
  """
  instances = [[name, [20, 30]] for name in order or [row['instance'] for row in rows]]
  config = {
    'program': 'heatmap',
    'model': {'name': model},
    'flags': {'dataset': 'folder', 'data_dir': '/x/davis_dev'},
    'instances': results.fingerprint(instances),
    'shard': {'id': shard[0], 'count': shard[1]},
  }
  (folder / 'maps').mkdir(parents=True, exist_ok=True)
  for row in rows:
    if row.get('picture'):
      (folder / 'maps' / row['picture']).write_bytes(b'')
  files = {'config': {'schema': schema.SCHEMA, **config}, 'instances': {'instances': instances}}
  for name, held in (files | {'shares': {'rows': rows}, 'summary': {'n_ok': len(rows)}}).items():
    (folder / f'{name}.json').write_text(json.dumps(held))
  (folder / 'rows.jsonl').write_text(''.join(json.dumps(row) + '\n' for row in rows))
