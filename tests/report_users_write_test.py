"""Runs of users' clicks beside attacks and each other, on disk."""

import json

import pytest
from user_runs import ROWS, attack_run, config, row, run, scaled, source

from tetris_jax.report.users import write
from tetris_jax.runs.workdirs import WorkdirError


def test_attacks_must_be_of_the_same_model_data_and_view():
  found = write.matched(config(), [attack_run()])
  assert found['p']['a']['min'] == pytest.approx(0.3) and found['p']['b']['max'] == 0.8
  for other in (attack_run('other'), attack_run(objects='ids')):
    with pytest.raises(WorkdirError, match='is not of m with these weights'):
      write.matched(config(), [other])
    assert write.matched(config(), [other], all_of_them=False) == {}
  with pytest.raises(WorkdirError, match='give disks=soft'):
    write.matched(config(disks='hard'), [attack_run(disks='soft')])
  with pytest.raises(WorkdirError, match='two runs of preset p'):
    write.matched(config(), [attack_run(), attack_run()])
  base = attack_run()
  for one in base.rows:
    one['iou'] = {'min': None, 'base': [0.5], 'max': None}
  with pytest.raises(WorkdirError, match='searches nothing'):
    write.matched(config(), [base])


def test_models_whose_instances_have_one_click_are_not_ranked(tmp_path):
  single = [row(name, 0.5, file=source([[1.0, 1.0]], [0.4])) for name in 'ab']
  found = [run(config(f'm{k}'), scaled(k / 4)) for k in (1, 2)] + [run(config('m3'), single)]
  attacks = [attack_run(f'm{k}', spread=0.1 * k) for k in (1, 2, 3)]
  write.write_comparison(tmp_path, found, attacks)
  made = json.loads((tmp_path / 'comparison.json').read_text())
  lines = [one for one in made['runs'] if one['source'] == 'file']
  assert [(one['n'], one['n_several'], one['n_both']) for one in lines] == [
    (2, 1, 1), (2, 1, 1), (2, 0, 0),
  ]  # fmt: skip
  # Instance a alone has two clicks; under attack its IoU is 0.7 - spread to 0.8.
  assert [one['attack_d1'] for one in lines] == [pytest.approx(0.2), pytest.approx(0.3), None]
  assert next(one for one in made['correlations'] if one['source'] == 'file')['models'] == 2


def test_models_are_compared_and_written(tmp_path):
  found = [run(config(f'm{k}'), scaled(k / 4)) for k in (1, 2, 3)]
  attacks = [attack_run(f'm{k}', spread=0.1 * k) for k in (3, 1, 2)]
  page = write.write_comparison(tmp_path, found, attacks)
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
  with pytest.raises(WorkdirError, match='of no model and data set of compare'):
    write.write_comparison(tmp_path / 'x', found, [attack_run('stranger')])


def test_the_headline_has_scores_and_counts():
  made = write.summary.summarise(ROWS, 'm', 1, {})
  line = write.headline(made)
  assert line.startswith('file IoU 55.0, NSR 49.0; file, on the object IoU 55.0, NSR 60.0. ')
  assert line.endswith('Instances: 2 ok, 0 failed, 0 skipped.')
  assert write.headline(write.summary.summarise([], 'm', 1, {})).startswith('-. ')
