"""Settings: defaults, checks, and that every program has the flags that it reads and no other."""

import ast
import collections
import dataclasses
import importlib
import inspect
import pathlib
import re

import jax
import pytest

from experiments.lib import cli, settings
from experiments.lib.settings import UsageError, setting

CHOICES = ['zoom', 'disks', 'cascade', 'merge', 'mask_choice', 'feedback', 'precision', 'hq']
MODEL = ['model', 'weights', *CHOICES]
DATA = ['dataset', 'data_dir', 'data_options', 'objects', 'ignore_id', 'limit']
SEARCH = ['depth', 'num_beams']
RUN = ['workdir', 'shard', 'shard_id', 'num_shards']
FLAGS = {
  'attack': [
    *MODEL, *DATA, 'preset', 'num_clicks', *SEARCH, 'batch_size', 'seed', *RUN,
    'users', 'prior', 'pictures', 'masks',
  ],
  'users': [
    *MODEL, *DATA, 'num_clicks', 'batch_size', 'seed', *RUN, 'clicks', 'clicks_dataset',
    'priors', 'num_users', 'groups', 'workdirs', 'compare',
  ],
  'heatmap': [
    *MODEL, *DATA, 'preset', 'depth', 'batch_size', 'seed', *RUN, 'stride', 'every',
    'explorer',
  ],
  'bench': [
    *MODEL, *DATA, 'preset', 'num_clicks', *SEARCH, 'suite', 'minutes', 'batch_sizes',
    'workers', 'rows', 'repeats', 'out',
  ],
  'sweep': [
    'models', 'datasets', 'presets', 'file', 'num_clicks', *SEARCH, 'batch_size', 'seed', 'users',
    'prior', 'limit', 'pictures', 'workdir', 'address', 'workers', 'worker_cpus', 'worker_gpus',
    'worker_tpus',
  ],
  'report': ['workdirs', 'heatmaps', 'users', 'out', 'pictures_per_run'],
  'apart': ['workdirs', 'halves'],
  'passes': ['maps', 'prior', 'repeats'],
  'export': ['workdirs', 'out', 'tables', 'coco'],
  'replay': ['workdir', 'tolerance'],
  'fetch': ['model', 'source', 'sha256', 'force'],
  'prepare': ['dataset', 'data_dir', 'out'],
}  # fmt: skip
ROOT = pathlib.Path(settings.__file__).parents[1]


def of(program):
  return importlib.import_module(f'experiments.{program}').Settings


def reads(file):
  """Names of the attributes that a file reads."""
  return {
    node.attr
    for node in ast.walk(ast.parse(file.read_text()))
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
  }


@pytest.mark.parametrize('program', cli.PROGRAMS)
def test_a_program_has_exactly_the_flags_that_it_reads(program):
  names = {field.name for field in dataclasses.fields(of(program))}
  # A data set of one's own has no builder, so `prepare` has no use for a plugin.
  assert names == {*FLAGS[program], *(['plugins'] if program != 'prepare' else [])}
  # A program's own flags are read in its file, those of a group there or where things are opened.
  here = reads(ROOT / f'{program}.py')
  own = set(inspect.get_annotations(of(program)))
  assert own <= here
  libraries = [ROOT / 'lib' / f'{name}.py' for name in ('launch', 'opening', 'settings')]
  assert names - own - {'plugins', *CHOICES} <= here.union(*map(reads, libraries))


def test_no_name_default_or_help_stands_twice():
  defined = collections.defaultdict(set)
  groups = [kind for _, kind in inspect.getmembers(settings, inspect.isclass)]
  for kind in [*groups, *map(of, cli.PROGRAMS)]:
    if issubclass(kind, settings.Group):
      for name in inspect.get_annotations(kind):
        (field,) = (one for one in dataclasses.fields(kind) if one.name == name)
        defined[name].add((kind, field.metadata['help']))
        assert field.metadata['help'][0].isupper() and field.metadata['help'].endswith('.')
  for name, places in defined.items():
    # One name in two programs that share no group means something else in each, and says so.
    assert len({help for _, help in places}) == len(places), name
  for kind in map(of, cli.PROGRAMS):
    bases = [base for base in kind.__mro__ if issubclass(base, settings.Group)]
    names = [name for base in bases for name in inspect.get_annotations(base)]
    assert len(names) == len(set(names)), kind
  for file in ROOT.rglob('*.py'):
    if file.name != 'flags.py':
      assert not re.search(r'\bDEFINE_\w+|flags\.FLAGS\[', file.read_text()), file


def test_fields_are_checked_and_errors_name_the_flag():
  @dataclasses.dataclass(frozen=True, kw_only=True)
  class Asked(settings.Group):
    number: int | None = setting(None, 'A number.', least=2)
    seed: int = setting(0, 'A seed.', least=0, most=9)
    kind: str = setting('a', 'A kind.', choices=('a', 'b'))

  assert Asked() == Asked(number=None, seed=0, kind='a')
  assert Asked(number=2).number == 2
  for changes, message in (
    ({'number': 1}, '--number=1: expected at least 2'),
    ({'seed': 10}, '--seed=10: expected 0 to 9'),
    ({'seed': -1}, '--seed=-1: expected 0 to 9'),
    ({'kind': 'c'}, '--kind=c: expected one of a, b'),
  ):
    with pytest.raises(UsageError, match=message):
      Asked(**changes)
  with pytest.raises(UsageError, match='--seed=11'):
    dataclasses.replace(Asked(), seed=11)


@pytest.mark.parametrize('program', ['attack', 'heatmap', 'users'])
def test_programs_of_rows_agree_on_shards_and_folders(program, monkeypatch):
  kind = of(program)
  end = {'attack': 'tetris', 'heatmap': 'heatmap', 'users': 'users'}[program]
  assert kind(dataset='sbd').folder.as_posix() == f'runs/mobile_sam-sbd-{end}'
  assert kind(workdir='w', shard_id=1, num_shards=3).folder.as_posix() == 'w/shard-00001-of-00003'
  monkeypatch.setenv('OMPI_COMM_WORLD_RANK', '2')
  monkeypatch.setenv('OMPI_COMM_WORLD_SIZE', '4')
  assert kind(workdir='w').folder.as_posix() == 'w'
  assert kind(workdir='w', shard='auto').folder.as_posix() == 'w/shard-00002-of-00004'
  assert kind(shard='auto', num_shards=4).part == (2, 4)


@pytest.mark.parametrize(('asked', 'said'), [
  ({'shard': 'auto', 'shard_id': 1}, '--shard=auto says itself which it is'),
  ({'shard': '1/4'}, '--shard=1/4: expected one of auto'),
  ({'shard_id': 1}, 'together or not at all'),
  ({'num_shards': 2}, 'together or not at all'),
  ({'shard_id': 2, 'num_shards': 2}, '--shard_id=2 of --num_shards=2: expected 0 to 1'),
])
def test_flags_of_shards_belong_together(asked, said):
  with pytest.raises(UsageError, match=said):
    of('attack')(**asked)


@pytest.mark.parametrize('program', ['attack', 'heatmap', 'users'])
def test_no_name_of_a_model_leads_out_of_the_folder_of_runs(program):
  for name in ('../../escaped/x', '/etc/x', '..', 'a\nb'):
    folder = of(program)(model=name).whole
    assert folder.parent.as_posix() == 'runs' and folder.name.isprintable()
    assert folder.name not in ('.', '..')


def test_folders_of_deeper_and_wider_attacks_are_others():
  assert of('attack')(depth=0.25, num_beams=4).folder.name.endswith('-depth-0.25-beams-4')
  assert of('heatmap')(depth=0.25).folder.name.endswith('-heatmap-depth-0.25')


# Programs that ask JAX for none.
DEVICELESS = 'sweep', 'report', 'apart', 'passes', 'export', 'prepare'
PATHS = {
  'attack': {'weights', 'data_dir', 'workdir'},
  'users': {'weights', 'data_dir', 'workdir', 'clicks', 'workdirs', 'compare'},
  'heatmap': {'weights', 'data_dir', 'workdir'},
  'sweep': {'file', 'workdir'},
  'bench': {'weights', 'data_dir', 'out'},
  'report': {'workdirs', 'heatmaps', 'users', 'out'},
  'apart': {'workdirs'},
  'passes': {'maps'},
  'export': {'workdirs', 'out'},
  'replay': {'workdir'},
  'fetch': {'source'},
  'prepare': {'data_dir', 'out'},
}


@pytest.mark.parametrize('program', cli.PROGRAMS)
def test_home_is_found_in_every_path(program, monkeypatch):
  monkeypatch.setenv('HOME', '/home/me')
  for field in dataclasses.fields(of(program)):
    path = field.name in PATHS[program]
    assert field.metadata['path'] == path, field.name
    if path:
      several = isinstance(field.default, tuple)
      given = ('~/a*', 'b', '~') if several else '~/a'
      expected = ('/home/me/a*', 'b', '/home/me') if several else '/home/me/a'
      alone = {'sha256': '0'} if field.name == 'source' else {}
      made = of(program)(**{field.name: given}, **alone)
      assert getattr(made, field.name) == expected
    if field.name == 'data_options':
      made = of(program)(data_options=('annotations=~/a.json', 'split=a~b'))
      assert made.data_options == ('annotations=/home/me/a.json', 'split=a~b')
  for plain in ('a/~', './~', 'https://x/~y', 'original', '~nobody_of_this_name/x'):
    assert of('fetch')(source=plain).source == plain


@pytest.mark.parametrize('program', cli.PROGRAMS)
def test_a_program_says_what_it_is_asked_to_do(program, monkeypatch):
  monkeypatch.setattr(jax, 'devices', lambda: pytest.fail('a device was asked for'))
  said = of(program)().doing
  assert said.startswith(f'{program}: ') and '\n' not in said
  assert of(program)().uses_device == (program not in DEVICELESS)
  if program in ('attack', 'heatmap', 'users'):
    assert said.endswith('-> ' + str(of(program)().whole))
    assert 'mobile_sam' in said and 'samples' in said


def test_a_comparison_needs_no_device():
  asked = of('users')(compare=('runs/a', 'runs/b'))
  assert asked.doing == 'users: comparing runs/a, runs/b -> users' and not asked.uses_device
