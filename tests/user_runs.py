"""Runs of users' clicks out of thin air, for tests of what is written about them."""

import json

import runs

from tetris_jax.runs import merge


def source(yx, iou, on_object=None, clamped=None):
  """Clicks of one source on an instance."""
  return {
    'yx': yx, 'iou': iou, 'biou': iou,
    'on_object': on_object or [True] * len(iou), 'clamped': clamped or [False] * len(iou),
  }  # fmt: skip


def row(instance, robot, trajectories=None, **sources):
  """An ok row of experiments.users."""
  return {
    'instance': instance, 'status': 'ok', 'reason': '', 'size': [30, 40],
    'robot': {'yx': [10.0, 10.0], 'iou': robot, 'biou': robot},
    'users': sources, 'trajectories': trajectories or {}, 'forward': 4, 'backward': 0,
  }  # fmt: skip


ROWS = [
  # Distances 5, 0 and 10 pixels of a diagonal of 50.
  row('a', 0.5, file=source(
    [[13.0, 14.0], [10.0, 10.0], [16.0, 18.0]], [0.2, 0.8, 0.5], [True, True, False],
    [False, False, True],
  )),
  row('b', 0.9, file=source([[10.0, 25.0]], [0.6])),
]  # fmt: skip
ATTACKS = {
  'p': {'a': {'min': 0.3, 'max': 0.8, 'd': 0.4}, 'b': {'min': 0.6, 'max': 0.7, 'd': 0.1}},
  'q': {'a': {'min': 0.1, 'max': 0.4, 'd': 0.3}},
}


def walked(base, groups):
  """Trajectories of the robot user and of the groups."""
  found = {'base': base} | {f'G{number}': iou for number, iou in enumerate(groups, 1)}
  return {name: {'iou': iou, 'biou': iou, 'clicks': []} for name, iou in found.items()}


def config(model='m', **flags):
  """The configuration of a run."""
  asked = {'dataset': 'folder', 'data_dir': '/x/dev', 'data_options': (), 'objects': 'binary'}
  asked |= {'ignore_id': None, 'zoom': None, 'disks': None, 'seed': 0, 'batch_size': 1, 'limit': 0}
  return {
    'flags': asked | flags, 'preset': {'name': 'users', 'num_clicks': 1}, 'program': 'users',
    'model': {'name': model, 'sha256': {'f': 'ab'}}, 'instances': {'count': 2, 'sha256': 'x'},
    'shard': {'id': 0, 'count': 1}, 'versions': {'jax': '1'},
    'devices': {'platform': 'cpu', 'kind': 'cpu', 'count': 1},
    'users': {'clicks': None, 'priors': [], 'num_users': 0, 'groups': None, 'num_groups': 0},
  }  # fmt: skip


TOTALS = {'seconds': 1.0, 'compile_seconds': 0.0, 'evaluations': 4.0}


def run(about, rows):
  """A run of these rows."""
  model, preset = about['model']['name'], about['preset']['name']
  listed = [[one['instance'], one['size']] for one in rows]
  return merge.Run(model, 'dev', preset, about, listed, rows, TOTALS, {})


def attack_run(model='m', preset='p', spread=0.4, **flags):
  """An attack that finds IoUs from 0.7 or 0.6 less `spread` to 0.8."""
  about = {**config(model, **flags), 'preset': {'name': preset}}
  low = [0.7 - spread, 0.6 - spread]
  rows = [runs.row(name, one, 0.75, 0.8) for name, one in zip('ab', low, strict=True)]
  return run(about, rows)


def scaled(factor):
  """`ROWS` with another spread of IoUs."""
  rows = json.loads(json.dumps(ROWS))
  for one in rows:
    iou = one['users']['file']['iou']
    one['users']['file']['iou'] = [0.5 + factor * (value - 0.5) for value in iou]
  return rows
