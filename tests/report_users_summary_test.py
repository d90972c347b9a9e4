"""Scores of users' clicks against hand-computed values, and runs beside attacks and each other."""

import io
import json

import numpy as np
import pytest
import runs

from tetris_jax.report.users import figures as user_figures
from tetris_jax.report.users import summary as users
from tetris_jax.report.users import write as user_report
from tetris_jax.runs import merge
from tetris_jax.runs.workdirs import WorkdirError


def source(yx, iou, on_object=None, clamped=None):
  return {
    'yx': yx, 'iou': iou, 'biou': iou,
    'on_object': on_object or [True] * len(iou), 'clamped': clamped or [False] * len(iou),
  }  # fmt: skip


def row(instance, robot, trajectories=None, **sources):
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


def test_first_clicks_by_hand():
  found = users.summarise(ROWS, 'm', 1, {})
  assert list(found['users']) == ['file', users.ON_OBJECT]
  one = found['users']['file']
  assert (one['n'], one['n_clicks'], one['n_off_object'], one['n_clamped']) == (2, 4, 1, 1)
  assert one['mean']['value'] == pytest.approx((0.5 + 0.6) / 2)
  assert one['robot']['value'] == pytest.approx(0.7)
  # Instance b has a single click and hence no spread.
  assert one['std'] == {'value': round(0.06**0.5, 6), 'low': None, 'high': None, 'n': 1}
  assert one['nsr']['value'] == pytest.approx(0.06**0.5 / 0.5, abs=1e-6)
  assert one['d'] == {'value': 0.6, 'low': None, 'high': None, 'n': 1}
  # Of a, one of three is below the robot user; of b, the only one.
  assert one['below_robot']['value'] == pytest.approx((1 / 3 + 1) / 2, abs=1e-6)
  assert one['distance_pixels']['mean'] == pytest.approx((5 + 0 + 10 + 15) / 4)
  assert one['distance_diagonal']['median'] == pytest.approx((0.1 + 0.2) / 2)
  legal = found['users'][users.ON_OBJECT]
  assert legal['n_clicks'] == 3 and legal['mean']['value'] == pytest.approx((0.5 + 0.6) / 2)
  assert legal['d']['value'] == pytest.approx(0.6)


def test_outcomes_inside_an_attack_by_hand():
  one = users.summarise(ROWS, 'm', 1, ATTACKS)['users']['file']['attacks']
  # 0.2 lies below 0.3; 0.8 and 0.6 lie on an end and count as inside.
  assert (one['p']['inside'], one['p']['below'], one['p']['above']) == (0.75, 0.25, 0.0)
  assert one['p']['inside_per_instance']['value'] == pytest.approx((2 / 3 + 1) / 2, abs=1e-6)
  # b has a single click, so that of all three D only a counts.
  for key, value in (('user_d', 0.6), ('attack_d1', 0.5), ('attack_d', 0.4)):
    assert one['p'][key] == {'value': value, 'low': None, 'high': None, 'n': 1}
  assert one['q']['n_clicks'] == 3 and one['q']['inside_per_instance']['n'] == 1
  assert one['q']['above'] == pytest.approx(2 / 3, abs=1e-6)


def test_clicks_that_all_lie_off_the_object():
  rows = [row('a', 0.5, file=source([[1.0, 1.0], [2.0, 2.0]], [0.1, 0.3], [False, False]))]
  found = users.summarise(rows, 'm', 1, ATTACKS)['users']
  assert list(found) == ['file'] and found['file']['n_off_object'] == 2
  rows.append(row('b', 0.5, file=source([[1.0, 1.0]], [0.4])))
  found = users.summarise(rows, 'm', 1, ATTACKS)['users']
  assert list(found) == ['file', users.ON_OBJECT] and found[users.ON_OBJECT]['n_clicks'] == 1
  assert list(users.summarise(rows[1:], 'm', 1, ATTACKS)['users']) == ['file']


def test_every_mean_is_printed_with_its_own_n():
  rows = [
    row('a', 0.5, file=source([[1.0, 1.0], [2.0, 2.0]], [0.2, 0.8])),
    row('b', 0.9, file=source([[10.0, 25.0]], [0.6])),
  ]
  summary = users.summarise(rows, 'm', 1, ATTACKS)
  summary |= {'evaluations_per_second': 1.0, 'compile_seconds': 2.0, 'programs': 3}
  text = users.markdown(rows, summary, config())
  lines = [line for line in text.splitlines() if '| file |' in line]
  assert lines[0].endswith(' 60.0 | 75.0 | 2 | 1 | 3 |')
  assert lines[2].endswith(' 60.0 | 50.0 | 40.0 | 2 | 1 | 3 |') and '`p`' in lines[2]
  assert text.count('| n | n with 2 or more clicks | clicks |') == 2
  assert 'programs: 3' in text


def test_models_whose_instances_have_one_click_are_not_ranked(tmp_path):
  single = [row(name, 0.5, file=source([[1.0, 1.0]], [0.4])) for name in 'ab']
  found = [run(config(f'm{k}'), scaled(k / 4)) for k in (1, 2)] + [run(config('m3'), single)]
  attacks = [attack_run(f'm{k}', spread=0.1 * k) for k in (1, 2, 3)]
  user_report.write_comparison(tmp_path, found, attacks)
  made = json.loads((tmp_path / 'comparison.json').read_text())
  lines = [one for one in made['runs'] if one['source'] == 'file']
  assert [(one['n'], one['n_several'], one['n_both']) for one in lines] == [
    (2, 1, 1), (2, 1, 1), (2, 0, 0),
  ]  # fmt: skip
  # Instance a alone has two clicks; under attack its IoU is 0.7 - spread to 0.8.
  assert [one['attack_d1'] for one in lines] == [pytest.approx(0.2), pytest.approx(0.3), None]
  assert next(one for one in made['correlations'] if one['source'] == 'file')['models'] == 2


def walked(base, groups):
  found = {'base': base} | {f'G{number}': iou for number, iou in enumerate(groups, 1)}
  return {name: {'iou': iou, 'biou': iou, 'clicks': []} for name, iou in found.items()}


def test_groups_by_hand():
  fast, slow, never = [0.9, 0.9, 0.9], [0.1, 0.9, 0.9], [0.1, 0.1, 0.1]
  rows = [
    row('a', 0.5, walked(slow, [never, *[slow] * 8, fast])),
    row('b', 0.5, walked(fast, [fast] * 10)),
  ]
  found = users.summarise(rows, 'm', 3, {})
  assert found['trajectories']['base']['noc90']['value'] == 1.5
  assert found['trajectories']['G1']['nof90'] == 1
  groups = found['groups']
  assert groups['mean']['value'] == pytest.approx((2 + 1) / 2)
  assert groups['std']['value'] == pytest.approx((0.2**0.5) / 2, abs=1e-6)
  assert groups['delta_base']['value'] == 0
  assert groups['delta_groups']['value'] == pytest.approx((2 + 0) / 2)
  assert found['groups']['iou_auc']['n'] == 2


def config(model='m', **flags):
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
  model, preset = about['model']['name'], about['preset']['name']
  listed = [[one['instance'], one['size']] for one in rows]
  return merge.Run(model, 'dev', preset, about, listed, rows, TOTALS, {})


def attack_run(model='m', preset='p', spread=0.4, **flags):
  about = {**config(model, **flags), 'preset': {'name': preset}}
  low = [0.7 - spread, 0.6 - spread]
  rows = [runs.row(name, one, 0.75, 0.8) for name, one in zip('ab', low, strict=True)]
  return run(about, rows)


def test_attacks_must_be_of_the_same_model_data_and_view():
  found = user_report.matched(config(), [attack_run()])
  assert found['p']['a']['min'] == pytest.approx(0.3) and found['p']['b']['max'] == 0.8
  for other in (attack_run('other'), attack_run(objects='ids')):
    with pytest.raises(WorkdirError, match='is not of m with these weights'):
      user_report.matched(config(), [other])
    assert user_report.matched(config(), [other], all_of_them=False) == {}
  with pytest.raises(WorkdirError, match='give --disks=soft'):
    user_report.matched(config(disks='hard'), [attack_run(disks='soft')])
  with pytest.raises(WorkdirError, match='two runs of preset p'):
    user_report.matched(config(), [attack_run(), attack_run()])
  base = attack_run()
  for one in base.rows:
    one['iou'] = {'min': None, 'base': [0.5], 'max': None}
  with pytest.raises(WorkdirError, match='searches nothing'):
    user_report.matched(config(), [base])


def test_spearman_needs_three_models():
  line = lambda model, attack, user: {
    'dataset': 'd', 'source': 'file', 'preset': 'p', 'model': model,
    'attack_d1': attack, 'attack_d': -attack, 'user_d': user,
  }  # fmt: skip
  lines = [line('x', 0.1, 0.3), line('y', 0.2, 0.4), line('z', 0.3, 0.9)]
  three, two = user_report.ranks(lines)[0], user_report.ranks(lines[:2])[0]
  assert (three['models'], three['d1'], three['d']) == (3, 1.0, -1.0)
  assert (two['models'], two['d1'], two['d']) == (2, None, None)


def scaled(factor):
  rows = json.loads(json.dumps(ROWS))
  for one in rows:
    iou = one['users']['file']['iou']
    one['users']['file']['iou'] = [0.5 + factor * (value - 0.5) for value in iou]
  return rows


def test_models_are_compared_and_written(tmp_path):
  found = [run(config(f'm{k}'), scaled(k / 4)) for k in (1, 2, 3)]
  attacks = [attack_run(f'm{k}', spread=0.1 * k) for k in (3, 1, 2)]
  page = user_report.write_comparison(tmp_path, found, attacks)
  made = json.loads((tmp_path / 'comparison.json').read_text())
  file = [one for one in made['correlations'] if one['source'] == 'file']
  assert [(one['models'], one['d1']) for one in file] == [(3, 1.0)]
  assert [line['model'] for line in made['runs'][::2]] == ['m1', 'm2', 'm3']
  assert '| dev | file | p | 1.00 | 1.00 | 3 |' in page.read_text()
  for name in ('m1', 'm2', 'm3'):
    folder = tmp_path / f'{name}-dev-users'
    report = (folder / 'report.md').read_text()
    assert '## Outcomes inside [MIN@1, MAX@1]' in report
    for line in report.splitlines():
      if line.startswith('!['):
        assert (folder / line.partition('(')[2][:-1]).is_file()
    assert (folder / 'summary.json').is_file()
  assert (tmp_path / 'figures' / 'models_0.png').is_file()
  assert '(figures/models_0.png)' in page.read_text()
  with pytest.raises(WorkdirError, match='of no model and data set of --compare'):
    user_report.write_comparison(tmp_path / 'x', found, [attack_run('stranger')])


def test_the_report_names_what_stands_in_for_rclicks():
  groups = [[0.1, 0.95]] * 10
  rows = [row('a|b', 0.5, walked([0.1, 0.95], groups), distance=source([[1.0, 1.0]], [0.3]))]
  summary = users.summarise(rows, 'm', 2, {})
  summary |= {'evaluations_per_second': None, 'compile_seconds': 0.0}
  about = config()
  about['users'] |= {'groups': 'distance'}
  text = users.markdown(rows, summary, about)
  assert "stands in for RClicks' learned clickability model" in text
  assert '| NoC@90, mean ± std | 2.00 ± 0.00 | 1 |' in text
  about['users']['clicks'] = {
    'name': 'c.csv', 'repeated': 2, 'left_out': {'on DAVIS': {'count': 7, 'first_line': 3}},
  }
  assert '| left out: on DAVIS | 7 | 3 |' in users.markdown(rows, summary, about)


def test_figures_are_pictures():
  from PIL import Image

  groups = np.linspace(0.2, 0.95, 10)
  rows = [
    row(f'i{k}', 0.5, walked([0.3, 0.9], [[g / 2, g] for g in groups.tolist()]),
        file=source([[1.0, 2.0], [9.0, 9.0]], [0.1 * k, 0.6]), uniform=source([[3.0, 3.0]], [0.2]))
    for k in range(3)
  ]  # fmt: skip
  summary = users.summarise(rows, 'm', 2, {})
  lines = [{'model': 'x', 'attack_d1': 0.1, 'user_d': 0.3}]
  for picture in (
    user_figures.draw_spread(rows, 'file', 'm'),
    user_figures.draw_distance(rows),
    user_figures.draw_rounds(summary),
    user_figures.draw_models(lines, 'title'),
  ):
    image = np.asarray(Image.open(io.BytesIO(picture)).convert('RGB'))
    assert image.shape[0] > 300 and len(np.unique(image.reshape(-1, 3), axis=0)) > 20
