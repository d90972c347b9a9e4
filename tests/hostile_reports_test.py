"""Whole reports of work folders that somebody made to do harm, or that are damaged.

Whatever they hold: a report, or one sentence and status 2; nothing outside of the folder that was
asked for, nothing half-written in it.
"""

import contextlib
import copy
import json
import os
import random
import shutil

import pytest
import runs
import user_runs
import work_folders
from work_folders import edit, edit_row

from experiments import report, users
from tetris_jax.report.attack import figures
from tetris_jax.report.comparison import page
from tetris_jax.runs import workdirs
from tetris_jax.runs.workdirs import WorkdirError

NAMES = ['../../escaped/x', '/tmp/absolute', '..', 'a\nb', '$x', '\udcff\ud800', '<b>&lt;', '.hid',
         'x' * 900, '=cmd', '\x1b[2J', '`](javascript:x)']  # fmt: skip


@pytest.fixture(autouse=True)
def surroundings(tmp_path):
  """What lies beside the folders and must stay as it is."""
  (tmp_path / 'outside').mkdir()
  (tmp_path / 'outside' / 'mine').write_text('mine')
  yield
  assert work_folders.tree(tmp_path / 'outside') == {'mine': b'mine'}
  assert not list(tmp_path.rglob('*.report'))
  names = {path.name for path in tmp_path.iterdir()}
  assert not names & {'escaped', 'absolute', 'x'}


def refused(folders, tmp_path, **more):
  before = work_folders.tree(tmp_path)
  with pytest.raises(WorkdirError) as error:
    report.report([str(folder) for folder in folders], tmp_path / 'out', 3, **more)
  assert work_folders.tree(tmp_path) == before
  return str(error.value)


@pytest.mark.slow
def test_names_do_not_lead_out_of_the_folder(tmp_path):
  folders = []
  for number, name in enumerate(NAMES):
    change = {'preset': {'name': name, 'num_clicks': 2}}
    folders.append(work_folders.attack(tmp_path / f'w{number}', name, **change))
    edit(folders[-1], 'config.json', lambda c, name=name: c['flags'].update(data_dir=f'/x/{name}'))
  report.report([str(folder) for folder in folders], tmp_path / 'out', 1)
  found = [path for path in (tmp_path / 'out').iterdir() if path.is_dir()]
  assert len(found) == len(NAMES)
  assert all((folder / 'summary.json').is_file() for folder in found)
  for text in [(tmp_path / 'out' / 'comparison.md').read_text(),
               *((folder / 'report.md').read_text() for folder in found)]:  # fmt: skip
    assert '<b>' not in text and '](javascript' not in text.replace('\\](j', '')
    assert '\x1b' not in text


@pytest.mark.slow
def test_runs_whose_names_would_clash_have_a_folder_each(tmp_path):
  folders = [
    work_folders.attack(tmp_path / 'a', 'a-b', flags={'dataset': 'c', 'data_dir': None}),
    work_folders.attack(tmp_path / 'b', 'a', flags={'dataset': 'b-c', 'data_dir': None}),
  ]
  report.report([str(folder) for folder in folders], tmp_path / 'out', 1)
  models = {
    json.loads((tmp_path / 'out' / name / 'config.json').read_text())['model']['name']
    for name in ('a-b-c-tetris', 'a-b-c-tetris-2')
  }
  assert models == {'a-b', 'a'}


@pytest.mark.slow
def test_sources_of_clicks_do_not_lead_out_of_the_folder(tmp_path):
  rows = copy.deepcopy(user_runs.ROWS)
  one = user_runs.source([[1.0, 1.0]], [0.5])
  rows[0]['users'] |= dict.fromkeys(NAMES[:7], one)
  rows[1]['users'] |= {'._.._escaped_x': one, 'file, on the object': one}
  walks = {name: {'iou': [0.5], 'biou': [0.5], 'clicks': [[1.0, 1.0, 1]]}
           for name in ('base', *NAMES)}  # fmt: skip
  for row in rows:
    row['trajectories'] = walks
  folder = work_folders.users(tmp_path / 'w', '$\\frac{', rows)
  users.compare([str(folder)], [], str(tmp_path / 'out'))
  assert len(list((tmp_path / 'out' / 'figures').glob('spread_*.png'))) == 7 + 2
  for path in (tmp_path / 'out').rglob('*.md'):
    text = path.read_text()
    assert '<b>' not in text and '\x1b' not in text
    for line in text.splitlines():
      if line.startswith('!['):
        assert ' ' not in line.partition('(')[2]


@pytest.mark.slow
def test_pictures_that_are_none_cost_no_number(tmp_path, capsys):
  folder = work_folders.attack(tmp_path / 'w', pictures=(0, 1, 2))
  (folder / 'figures' / '00000_p0.png').write_bytes(b'%!PS-Adobe-3.0 EPSF-3.0\n(x) run')
  (folder / 'figures' / '00001_p1.png').unlink()
  (folder / 'figures' / '00001_p1.png').symlink_to(tmp_path / 'outside' / 'mine')
  (folder / 'figures' / '00002_p2) <x>.png').write_bytes(b'')  # A name that no run gives.
  heat = runs.heatmap_folder(tmp_path / 'heat')
  (heat / 'maps' / '00001_p1.png').write_bytes(b'')
  report.report([str(folder)], tmp_path / 'out', 3, [str(heat)])
  said = capsys.readouterr().err
  assert said.count('note: left out of the report: ') == 3
  assert 'it is no PNG' in said and 'it is a link' in said and 'it is empty' in said
  assert sorted(file.name for file in (tmp_path / 'out' / 'figures').iterdir()) == [
    '00002_p2.png', 'curves.png',
  ]  # fmt: skip
  text = (tmp_path / 'out' / 'report.html').read_text()
  assert text.count('data:image/jpeg') == 2 and 'bWluZQ' not in text
  assert (tmp_path / 'out' / 'report.md').read_text().count('](figures/0') == 1


@pytest.mark.slow
def test_a_report_is_whole_or_not_there(tmp_path, monkeypatch):
  folder = work_folders.attack(tmp_path / 'w')
  report.report([str(folder)], tmp_path / 'out', 3)
  before = work_folders.tree(tmp_path)

  def fail(*args, **kwargs):
    raise WorkdirError('the disk is full')

  monkeypatch.setattr(page, 'render', fail)
  assert refused([folder], tmp_path) == 'the disk is full'
  shutil.move(tmp_path / 'out', tmp_path / 'kept')
  assert refused([folder], tmp_path) == 'the disk is full'
  monkeypatch.undo()
  (tmp_path / 'kept' / 'figures' / 'curves.png').unlink()
  (tmp_path / 'kept' / 'figures').rmdir()
  (tmp_path / 'kept' / 'figures').symlink_to(tmp_path / 'outside')
  shutil.move(tmp_path / 'kept', tmp_path / 'out')
  assert 'figures: it is a link' in refused([folder], tmp_path)
  (tmp_path / 'out' / 'figures').unlink()
  (tmp_path / 'out' / 'report.html').unlink()
  (tmp_path / 'out' / 'report.html').symlink_to(tmp_path / 'outside' / 'mine')
  report.report([str(folder)], tmp_path / 'out', 3)
  assert work_folders.tree(tmp_path).keys() == before.keys()


def test_work_folders_are_not_written_over(tmp_path):
  one = work_folders.attack(tmp_path / 'runs' / 'm-dev-tetris')
  other = work_folders.attack(tmp_path / 'runs' / 'v', 'n')
  heat = runs.heatmap_folder(tmp_path / 'heat')
  before = work_folders.tree(tmp_path)
  for out, maps in ((tmp_path / 'runs', []), (heat, [str(heat)]), (one / 'results', [])):
    with pytest.raises(WorkdirError, match='holds work folders; name another folder'):
      report.report([str(one), str(other)], out, 3, maps)
  people = work_folders.users(tmp_path / 'people' / 'm-dev-users')
  with pytest.raises(WorkdirError, match=r'--workdir=.* holds work folders'):
    users.compare([str(people)], [], str(people))
  shutil.rmtree(tmp_path / 'people')
  assert work_folders.tree(tmp_path) == before


@pytest.mark.slow
def test_what_differs_is_noted_beside_the_table(tmp_path):
  rows = work_folders.rows(4)
  one = work_folders.attack(tmp_path / 'a', 'a', rows)
  other = work_folders.attack(tmp_path / 'b', 'b', [*rows[1:4], runs.failed('x', 'gone')])
  edit(other, 'config.json', lambda c: c['versions'].update(jax='0.11.0 <b>'))
  report.report([str(one), str(other)], tmp_path / 'out', 3)
  found = json.loads((tmp_path / 'out' / 'comparison.json').read_text())
  assert [line['n'] for line in found['runs']] == [3, 3]
  assert found['pairs'][0]['difference']['n'] == 3
  instances, versions = found['notes']
  assert 'of the 3 that all have (same name and size). Instances of each: a 5, b 4.' in instances
  assert versions == (
    'Made with other versions of jax: 0.10.2 (a-dev-tetris); 0.11.0 <b> (b-dev-tetris).'
  )
  text = (tmp_path / 'out' / 'comparison.md').read_text()
  assert f'- {instances}\n- ' in text and '0.11.0 &lt;b>' in text
  assert '<li>Made with other versions of jax: 0.10.2 (a-dev-tetris); 0.11.0 &lt;b&gt;' in (
    (tmp_path / 'out' / 'report.html').read_text()
  )
  # A run's own folder has all of its instances.
  assert json.loads((tmp_path / 'out' / 'a-dev-tetris' / 'summary.json').read_text())['n_ok'] == 4
  stranger = work_folders.attack(tmp_path / 'c', 'c', [runs.row('z', 0.1, 0.2, 0.3) | {
    'warnings': [],
  }])  # fmt: skip
  assert 'the runs of a, c have no instance of the same' in refused([one, stranger], tmp_path)


@pytest.mark.slow
def test_users_on_other_instances_are_compared_on_the_common_ones(tmp_path):
  more = [*user_runs.ROWS, user_runs.row('c', 0.5, file=user_runs.source([[1.0, 1.0]], [0.3]))]
  folders = [
    work_folders.users(tmp_path / 'a', 'a'), work_folders.users(tmp_path / 'b', 'b', more),
  ]  # fmt: skip
  edit(folders[1], 'config.json', lambda c: c['devices'].update(kind='H100'))
  users.compare([str(folder) for folder in folders], [], str(tmp_path / 'out'))
  found = json.loads((tmp_path / 'out' / 'comparison.json').read_text())
  assert {line['n'] for line in found['runs'] if line['source'] == 'file'} == {2}
  assert 'of the 2 that all have' in found['notes'][0] and 'other devices' in found['notes'][1]
  assert f'- {found["notes"][0]}\n' in (tmp_path / 'out' / 'comparison.md').read_text()
  assert json.loads((tmp_path / 'out/b-dev-users/summary.json').read_text())['n_ok'] == 3


@pytest.mark.slow
def test_runs_of_one_kind_have_no_notes(tmp_path):
  folders = [work_folders.attack(tmp_path / name, name) for name in 'ab']
  report.report([str(folder) for folder in folders], tmp_path / 'out', 3)
  assert 'notes' not in json.loads((tmp_path / 'out' / 'comparison.json').read_text())
  assert '\n- ' not in (tmp_path / 'out' / 'comparison.md').read_text()


@pytest.mark.parametrize(
  ('change', 'said'),
  [
    (lambda row: row['iou'].update(min=[0.5, 0.5], max=[0.4, 0.5]), 'MIN <= BASE <= MAX must hold'),
    (lambda row: row.update(status='fine'), "status is 'fine', expected ok or failed or skipped"),
    (lambda row: row.update(biou=None), 'biou is null, but status is ok'),
    (lambda row: row['biou'].update(base=None), 'biou.base is None, expected a list'),
    (lambda row: row.update(levels=[], quantiles=None, hidden=None), "levels are []"),
    (lambda row: [row[key].update({mode: row[key][mode][:1] for mode in row[key]})
                  for key in ('iou', 'biou', 'clicks')] and None, 'has 1 entries, but preset.num'),
    (lambda row: row.update(instance='stranger'), 'p1 has no row in'),
  ],
)  # fmt: skip
def test_rows_that_cannot_be_are_refused_by_folder(tmp_path, change, said):
  folder = work_folders.attack(tmp_path / 'w')
  edit_row(folder, 1, change)
  message = refused([folder], tmp_path)
  assert said in message and str(folder) in message
  assert len(message.replace(str(folder), '')) < 500
  assert 'p1' in message


def test_instances_that_are_listed_twice_are_refused(tmp_path):
  rows = work_folders.rows()
  folder = work_folders.attack(tmp_path / 'w', made=[*rows[:3], rows[0]][:3])
  listed = [[f'q{k}', None] for k in range(50_000)]
  listed = [*listed, ['p0', [20, 30]], ['p1', [20, 30]], ['p0', [20, 30]]]
  edit(folder, 'instances.json', lambda held: {'instances': listed})
  edit(folder, 'config.json', lambda c: c.update(instances=workdirs.fingerprint(listed)))
  assert 'instances.json lists p0 twice' in refused([folder], tmp_path)


ODD = [None, True, 0, -1, 7, 1.5, -0.5, 1e308, 10**30, '', 'x', '../x', '\udcff', '$', '<b>', [],
       {}, [1], [[1, 2]], {'x': 1}, [None], 'y' * 5000]  # fmt: skip


def places(value, path=()):
  """Every place in a value of JSON."""
  yield path
  if isinstance(value, (dict, list)):
    for key, one in value.items() if isinstance(value, dict) else enumerate(value):
      yield from places(one, (*path, key))


def mutated(value, draw):
  """A value with one place changed, removed or doubled."""
  path = draw.choice([path for path in places(value) if path])
  value = inner = copy.deepcopy(value)
  for key in path[:-1]:
    inner = inner[key]
  how = draw.random()
  if how < 0.2:
    del inner[path[-1]]
  elif how < 0.3 and isinstance(inner, dict):
    inner[draw.choice(['more', '', 'x' * 3000, '__proto__'])] = inner[path[-1]]
  elif how < 0.4 and isinstance(inner, list):
    inner.append(inner[path[-1]])
  else:
    inner[path[-1]] = copy.deepcopy(draw.choice(ODD))
  return value


def mangled(data, draw):
  """Bytes with some of them changed, cut out or doubled."""
  start = draw.randrange(len(data))
  end = min(len(data), start + draw.choice([1, 1, 4, 50]))
  noise = bytes(draw.randrange(256) for _ in range(end - start))
  middle = draw.choice([b'', noise, data[start:end] * 2, b'9' * 400, b'[' * 3000, b'NaN'])
  return data[:start] + middle + (data[end:] if draw.random() < 0.8 else b'')


def mutate(folder, draw):
  """Damages one file of a work folder."""
  files = [path for path in folder.rglob('*') if path.suffix in ('.json', '.jsonl', '.png')]
  file = draw.choice(sorted(path for path in files if path.is_file() and path.stat().st_size))
  rows = file.name == 'rows.jsonl'
  if (file.suffix == '.json' or rows) and draw.random() < 0.8:
    lines = file.read_text().splitlines() if rows else [file.read_text()]
    made = mutated([json.loads(line) for line in lines], draw)
    file.write_text('\n'.join(map(json.dumps, made)) + '\n')
    if draw.random() < 0.8:
      shutil.rmtree(folder / 'results', ignore_errors=True)
  elif draw.random() < 0.1:
    file.unlink()
    draw.choice([lambda: os.mkfifo(file), lambda: file.symlink_to('/dev/zero'), file.mkdir])()
  else:
    file.write_bytes(mangled(file.read_bytes(), draw))


SEARCHED = [
  row | {'levels': work_folders.LEVELS, 'quantiles': None, 'hidden': 0.1}
  for row in work_folders.rows()[:3]
]
WALKED = [row | {'trajectories': user_runs.walked([0.5], [[0.4], [0.6]])} for row in user_runs.ROWS]
for one in WALKED:
  one['trajectories'] = {
    name: walk | {'clicks': [[1.0, 2.0, 1]]} for name, walk in one['trajectories'].items()
  }


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['attack', 'searched', 'users', 'heatmap'])
def test_damage_of_any_kind_is_a_report_or_a_sentence(kind, tmp_path, monkeypatch, capsys):
  good = tmp_path / 'good'
  if kind == 'users':
    work_folders.users(good, made=WALKED)
  elif kind == 'heatmap':
    runs.heatmap_folder(good)
  else:
    work_folders.attack(good, made=SEARCHED if kind == 'searched' else None, pictures=(0, 1))
  plain = work_folders.attack(tmp_path / 'plain', 'n')
  # Curves take most of the time, and have a test of odd names of their own.
  drawn = runs.picture(tmp_path / 'a.png', (9, 9)).read_bytes()
  monkeypatch.setattr(figures, 'draw_curves', lambda made: drawn)
  outcomes = {'written': 0, 'refused': 0}
  for seed in range(60 if kind == 'users' else 120):
    draw = random.Random(f'{kind} {seed}')
    folder, out = tmp_path / 'w', tmp_path / 'out'
    shutil.copytree(good, folder)
    for _ in range(draw.choice([1, 1, 1, 2, 5])):
      with contextlib.suppress(ValueError):  # Of what is damaged already.
        mutate(folder, draw)
    try:
      if kind == 'users':
        users.compare([str(folder)], [], str(out))
      elif kind == 'heatmap':
        report.report([str(plain)], out, 2, [str(folder)])
      else:
        report.report([str(folder), str(plain)], out, 2)
      outcomes['written'] += 1
      assert (out / 'comparison.json').is_file()
    except WorkdirError as error:
      outcomes['refused'] += 1
      assert str(folder) in str(error) or 'instance' in str(error), seed
      assert len(str(error)) < 3000 and not out.exists(), seed
    shutil.rmtree(folder)
    shutil.rmtree(out, ignore_errors=True)
    capsys.readouterr()
  assert outcomes['written'] > 5 and outcomes['refused'] > 20, outcomes
