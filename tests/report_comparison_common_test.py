"""Runs side by side: on which instances, and what else differs between them."""

import dataclasses

import pytest
import runs

from tetris_jax.report.comparison import common
from tetris_jax.runs import workdirs
from tetris_jax.runs.workdirs import WorkdirError


def made(model, names, size=(20, 30), **more):
  rows = [runs.row(name, 0.1, 0.5, 0.9) | {'size': list(size)} for name in names]
  run = runs.make(model, rows, **more)
  config = {**run.config, 'instances': workdirs.fingerprint(run.instances)}
  return dataclasses.replace(run, config=config)


def with_config(run, section, **changes):
  return dataclasses.replace(
    run, config={**run.config, section: {**run.config.get(section, {}), **changes}}
  )


def test_runs_of_one_list_are_compared_as_they_are():
  some = [made('a', 'xyz'), made('b', 'xyz'), made('a', 'x', dataset='other')]
  found, notes = common.on_common(some)
  assert notes == [] and all(one is run for one, run in zip(found, some, strict=True))


def test_other_lists_are_compared_on_what_all_have():
  some = [made('a', 'wxyz'), made('b', 'zyx'), made('c', 'xyzv'), made('a', 'q', preset='other')]
  some[0].pictures.update(w='w.png', x='x.png')
  found, (note,) = common.on_common(some)
  assert [[row['instance'] for row in run.rows] for run in found] == [
    ['x', 'y', 'z'], ['z', 'y', 'x'], ['x', 'y', 'z'], ['q'],
  ]  # fmt: skip
  assert [name for name, _ in found[0].instances] == ['x', 'y', 'z'] and found[3] is some[3]
  assert found[0].config['instances'] == found[2].config['instances']
  assert found[0].pictures == {'x': 'x.png'} and len(some[0].rows) == 4
  assert note == (
    'dev, tetris: the runs have other instances, so all numbers here are of the 3 that all have '
    '(same name and size). Instances of each: a 4, b 3, c 4.'
  )


def test_pictures_of_another_size_are_other_instances():
  some = [made('a', 'xy'), made('b', 'xy', size=(9, 9))]
  with pytest.raises(WorkdirError, match='dev, tetris: the runs of a, b have no instance of the s'):
    common.on_common(some)
  mixed = [made('a', 'xy'), made('b', 'xy')]
  mixed[1].rows[0]['size'] = None
  instances = [['x', None], ['y', [20, 30]]]
  mixed[1] = dataclasses.replace(
    mixed[1],
    instances=instances,
    config={**mixed[1].config, 'instances': workdirs.fingerprint(instances)},
  )
  assert [len(run.rows) for run in common.on_common(mixed)[0]] == [1, 1]


def test_runs_of_one_kind_have_no_notes():
  one, other = made('a', 'xy'), made('b', 'xy')
  newer = with_config(with_config(other, 'versions', python='3.12', numpy='3'), 'devices', count=8)
  assert common.notes([]) == common.notes([one]) == common.notes([one, newer]) == []


def test_what_differs_is_named_with_the_runs():
  one, other, third = made('a', 'x'), made('b', 'x'), made('c', 'x', dataset='more')
  other = with_config(other, 'versions', jax='0.11.0', tetris_jax='2.0')
  other = with_config(other, 'devices', kind='NVIDIA H100', platform='gpu')
  assert common.notes([one, other, third]) == [
    'Made with other versions of jax: 0.10.2 (a-dev-tetris, c-more-tetris); '
    '0.11.0 (b-dev-tetris).',
    'Made with other versions of tetris_jax: unknown (a-dev-tetris, c-more-tetris); '
    '2.0 (b-dev-tetris).',
    'Made on other devices: cpu (cpu) (a-dev-tetris, c-more-tetris); '
    'NVIDIA H100 (gpu) (b-dev-tetris).',
  ]


def test_clicks_and_options_must_agree_where_numbers_stand_side_by_side():
  one, other, third = made('a', 'x'), made('b', 'x'), made('c', 'x', dataset='more')
  longer = with_config(with_config(other, 'preset', num_clicks=20), 'flags', ignore_id=255)
  assert common.notes([one, longer]) == [
    'dev, tetris: other numbers of clicks: 2 (a-dev-tetris); 20 (b-dev-tetris).',
    'dev, tetris: read with another ignore_id: unknown (a-dev-tetris); 255 (b-dev-tetris).',
  ]
  assert common.notes([one, with_config(third, 'preset', num_clicks=20)]) == []


def test_notes_stay_short_whatever_names_there_are():
  some = [made(f'm{k}', 'x') for k in range(9)]
  odd = with_config(made('$' * 900, 'x'), 'versions', jax='x' * 10_000 + '\n')
  (note,) = common.notes([*some, odd])
  assert 'and 6 more' in note and len(note) < 600 and '\n' not in note
  strange = with_config(some[0], 'versions', **{f'package{k}': '1' for k in range(5000)})
  found = common.notes([some[1], strange])
  assert len(found) == 21 and found[-1].startswith('And 4980 more differences')
