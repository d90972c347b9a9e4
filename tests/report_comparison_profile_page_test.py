"""What the page shows of sampled users: the headline with ranks, profiles, bands; and one click."""

import json

import numpy as np
import pytest
import runs as runs_lib
from report_attack_profile_test import with_users
from report_comparison_page_test import browse, held

from tetris_jax.report.comparison import compare, page


def entry(value, spread=0.02):
  return {'value': value, 'low': value - spread, 'high': value + spread, 'n': 5}


def users(scale, clicks=2):
  """What a summary says of users whose outcomes spread as `scale` says."""
  alphas = [0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0]
  names = ('mean', 'q05', 'q25', 'q50', 'q75', 'q95')
  made = {
    'prior': 'distance', 'count': 64, 'n': 5, 'alphas': alphas,
    'curve': [entry(scale * (1 - alpha**0.5)) for alpha in alphas],
    'd': {share: entry(scale * (1 - float(share) ** 0.5)) for share in ('0.05', '0.25', '0.5')},
    'mean': entry(0.9 - scale / 2), 'below': {at: entry(scale / 10) for at in ('50', '80', '90')},
    'quantiles': {name: entry(0.5) for name in names[1:]}, 'noc': {},
    'per_click': {name: [0.3 + 0.1 * k] * clicks for k, name in enumerate(names)},
    'outside': None,
  }  # fmt: skip
  made['per_click']['mean'] = [0.6] * clicks
  return made


def render(made, summaries):
  lines = compare.overview(made, summaries)
  return page.render(made, summaries, lines, compare.orders(lines), compare.pairs(made))


def models(scales, dataset='dev'):
  made = [
    runs_lib.make(model, runs_lib.random_rows(5, seed, 0.5), dataset)
    for seed, model in enumerate(scales)
  ]
  summaries = [
    runs_lib.summarised(run) | {'users': users(scale) if scale else None}
    for run, scale in zip(made, scales.values(), strict=True)
  ]
  return made, summaries


def test_the_page_holds_what_the_summary_says_of_users():
  made, summaries = models({'a': 0.6, 'b': None})
  first, second = held(render(made, summaries))['runs']
  assert first['users'] == json.loads(json.dumps(summaries[0]['users'])) and not second['users']


TRIAL = """
<script>
const report = {errors: window.trialErrors};
const cells = (column) => [...document.querySelectorAll('#users tbody tr')]
  .map((row) => row.children[column].textContent);
report.heads = [...document.querySelectorAll('#users th')].map((one) => one.textContent);
const numbers = report.heads.map((_, column) => cells(column));
report.numbers = numbers;
document.querySelectorAll('#users th button')[report.heads.indexOf('D(.05)')].click();
report.sorted = cells(0);
const [svg] = document.querySelectorAll('#profile svg');
report.profiles = document.querySelectorAll('#profile svg').length;
report.lines = [...svg.querySelectorAll('polyline')].map((one) =>
  one.getAttribute('points').split(' ').map((point) => point.split(',').map(Number)));
report.bands = svg.querySelectorAll('polygon').length;
report.dots = svg.querySelectorAll('circle[r="3.5"]').length;
report.ticks = [...svg.querySelectorAll('text[text-anchor="middle"]')].slice(1)
  .map((one) => one.textContent);
report.key = document.querySelector('#profile .key').textContent;
report.under = [...document.querySelectorAll('#curves svg')].map((one) =>
  [one.querySelectorAll('.users').length, one.querySelectorAll('.band').length]);
report.wide = [document.documentElement.scrollWidth, window.innerWidth];
document.body.setAttribute('data-trial', JSON.stringify(report));
</script>
"""


@pytest.mark.browser
@pytest.mark.parametrize('width', [1280, 500])
def test_profiles_of_users_in_a_browser(tmp_path, width):
  made, summaries = models({'a': 0.6, 'b': 0.2, 'c': 0.4, 'd': None})
  found = browse(render(made, summaries), tmp_path, width, TRIAL)
  assert found['errors'] == []
  assert found['heads'] == [
    'Model', 'n', 'Users', 'BASE', 'D', 'D(.05)', 'D(.25)', 'Mean', 'Below 0.5'
  ]  # fmt: skip
  by_name = dict(zip(found['heads'], found['numbers'], strict=True))
  assert by_name['Model'] == ['a', 'b', 'c'] and by_name['Users'][0] == '64 border distance'
  assert by_name['Mean'] == [
    '60.0 [58.0, 62.0] #3', '80.0 [78.0, 82.0] #1', '70.0 [68.0, 72.0] #2'
  ]  # fmt: skip
  assert [text[-2:] for text in by_name['D(.25)']] == ['#3', '#1', '#2']
  assert [text[-2:] for text in by_name['Below 0.5']] == ['#3', '#1', '#2']
  assert sorted(text[-2:] for text in by_name['BASE']) == ['#1', '#2', '#3']
  assert found['sorted'] == ['b', 'c', 'a']
  # One chart, a line a model that falls from left to right; 0 stands apart.
  assert found['profiles'] == 1 and found['bands'] == 3 and found['dots'] == 3
  assert found['ticks'] == ['0', '.01', '.02', '.05', '.1', '.2', '.5', '1']
  for line in found['lines']:
    x, y = np.array(line).T
    assert len(x) == 6 and (np.diff(x) > 0).all() and (np.diff(y) > 0).all()
    # On a log axis steps of a factor are as long as its logarithm.
    gaps = np.diff(np.log([0.01, 0.05, 0.1, 0.25, 0.5, 1.0]))
    np.testing.assert_allclose(np.diff(x) / np.diff(x).sum(), gaps / gaps.sum(), atol=2e-3)
  assert found['key'] == 'abc'
  assert found['under'] == [[2, 0]] * 3 + [[0, 1]]
  assert found['wide'][0] <= found['wide'][1]


ONE_CLICK = """
<script>
const report = {errors: window.trialErrors};
report.dots = [...document.querySelectorAll('#curves svg')].map((svg) =>
  [...svg.querySelectorAll('.dot')].map((one) =>
    [one.getAttribute('class'), Number(one.getAttribute('cy')), getComputedStyle(one).fill]));
report.users = document.querySelectorAll('#curves rect.users').length;
document.body.setAttribute('data-trial', JSON.stringify(report));
</script>
"""


@pytest.mark.browser
def test_a_run_of_one_click_shows_its_points(tmp_path):
  row = runs_lib.curves('a', [0.2], [0.5], [0.9])
  run = runs_lib.make('m', [row])
  run.config['preset']['num_clicks'] = 1
  from tetris_jax.report.attack import summary

  made = summary.summarise(run.rows, 'm', 'tetris', 1)
  speed = {'evaluations_per_second': 50.0, 'device_seconds': 2.0, 'compile_seconds': 1.0}
  for sampled in (None, users(0.4, 1)):
    found = browse(render([run], [made | speed | {'users': sampled}]), tmp_path, 800, ONE_CLICK)
    assert found['errors'] == []
    (dots,) = found['dots']
    heights = {kind: cy for kind, cy, _ in dots}
    assert heights['dot max'] < heights['dot base'] < heights['dot min']
    assert len({fill for *_, fill in dots}) == 3 and 'rgba(0, 0, 0, 0)' not in dots[0]
    assert found['users'] == (2 if sampled else 0)


def test_what_rows_with_users_amount_to_has_all_that_the_page_reads():
  rows = [
    with_users(runs_lib.row('a', 0.1, 0.3, 0.7), [[0.2, 0.4], [0.5, 0.5], [0.7, 0.9], [0.6, 0.6]]),
    with_users(runs_lib.row('b', 0.2, 0.3, 1.0), [[0.9, 0.9], [0.4, 0.4], [0.4, 0.4], [0.1, 0.1]]),
  ]
  run = runs_lib.make('m', rows)
  (one,) = held(render([run], [runs_lib.summarised(run)]))['runs']
  found, expected = one['users'], users(0.5)
  assert expected.keys() <= found.keys() and len(found['alphas']) == len(found['curve'])
  assert found['alphas'][0] == 0 and found['alphas'][-1] == 1
  assert found['curve'][0]['value'] == pytest.approx(one['d']['value'])
  for key in ('d', 'below', 'per_click'):
    assert expected[key].keys() <= found[key].keys(), key
  assert found['below']['50']['value'] == pytest.approx(0.5)
