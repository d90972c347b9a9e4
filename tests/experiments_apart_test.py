"""Scores that tell models apart and those that do not, over runs made up for it."""

import json

import numpy as np
import pytest
import runs
import work_folders

from experiments import apart
from experiments.lib.settings import UsageError


def rows(seed, spread, count=20):
  """Instances whose users' scores spread about 0.5, with the same attack for every spread."""
  rng, made = np.random.default_rng(seed), []
  for number in range(count):
    auc = np.clip(0.5 + spread * (np.arange(8) - 3.5) / 7 + 0.01 * rng.normal(), 0, 1)
    users = {
      'prior': 'distance', 'count': 8, 'auc': {'iou': auc.tolist(), 'biou': auc.tolist()},
      'iou': [[one, one] for one in auc.tolist()], 'first': [[1.0, 2.0]] * 8,
    }  # fmt: skip
    row = runs.row(f'p{number}', 0.01, 0.5, 0.9)
    made.append(row | {'warnings': [], 'users': users})
  return made


def test_scores_of_an_instance_by_hand():
  made = rows(0, 0.7)
  found = apart.values([*made, runs.failed('x', 'damaged')])
  assert list(found) == ['BASE', 'D', 'D(0.05)', 'D(0.25)', 'D(0.5)', 'mean']
  one = [found[name][0] for name in found]
  auc = np.array(made[0]['users']['auc']['iou'])
  expected = [0.5, 0.89, auc[-1] - auc[0], auc[-2:].mean() - auc[:2].mean()]
  assert one == pytest.approx([*expected, auc[4:].mean() - auc[:4].mean(), auc.mean()])
  assert all(np.isnan(values[-1]) for values in found.values())
  with pytest.raises(UsageError, match='a run without users has no profile'):
    apart.values([runs.row('a', 0.1, 0.2, 0.3)])


def test_a_ranking_that_holds_has_the_tau_one():
  rng = np.random.default_rng(0)
  noise = [rng.normal(size=30) for _ in range(4)]
  clear = [number + 0.1 * one for number, one in enumerate(noise)]
  assert apart.stability(clear, 20) == 1
  assert abs(apart.stability(noise, 200)) < 0.6
  assert apart.stability([np.ones(30)] * 3, 5) is None


def test_models_of_one_d_are_told_apart_by_their_users(tmp_path, capsys):
  for model, spread in (('narrow', 0.1), ('wide', 0.6)):
    folder = work_folders.attack(tmp_path / model, f'{model} single', rows(1, spread))
    config = json.loads((folder / 'config.json').read_text())
    config['flags']['mask_choice'] = 'single'
    (folder / 'config.json').write_text(json.dumps(config))
  asked = apart.Settings(workdirs=(str(tmp_path / '*'),), halves=5)
  assert apart.execute(asked) == 0
  told = capsys.readouterr().out
  (line,) = [one for one in told.splitlines() if one.startswith('| pairs of 1 at p < 0.01')]
  assert [cell.strip() for cell in line.split('|')[2:-1]] == ['0', '0', '1', '1', '1', '0']
  # The model's name says what was chosen of it, once.
  assert '| narrow single, wide single |' in told
  with pytest.raises(UsageError, match='fewer than two runs'):
    apart.execute(apart.Settings(workdirs=(str(tmp_path / 'wide'),)))
