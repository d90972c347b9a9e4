"""Files beside the rows follow their instances, also where a process dies on the way."""

import pathlib

import pytest

from tetris_jax.runs import numbered

BEFORE = ['a b', 'a_b', 'gone', 'stays', 'z']
AFTER = ['new', 'a b', 'a_b', 'stays', 'z']


def fill(folder):
  """Files named by position; the first two differ in nothing else."""
  folder.mkdir()
  for position, (name, rest) in enumerate(
    [('a b', 'a_b.png'), ('a_b', 'a_b.png'), ('gone', 'gone.npz'), ('stays', 's.png'), ('z', 'z')]
  ):
    (folder / f'{position:05d}_{rest}').write_text(name)
  for other in ('curves.png', '0_x.png', '00009_of nobody.png'):
    (folder / other).write_text(other)
  return folder


def held(folder):
  return {file.name: file.read_text() for file in folder.iterdir()}


EXPECTED = {
  '00001_a_b.png': 'a b', '00002_a_b.png': 'a_b', '00003_s.png': 'stays', '00004_z': 'z',
  'curves.png': 'curves.png', '0_x.png': '0_x.png',
}  # fmt: skip


def test_files_move_with_their_instances_and_go_with_them(tmp_path):
  folder = fill(tmp_path / 'figures')
  numbered.detach(folder, BEFORE, AFTER)
  numbered.attach(folder, AFTER)
  assert held(folder) == EXPECTED
  numbered.detach(folder, AFTER, AFTER)
  numbered.attach(folder, AFTER)
  assert held(folder) == EXPECTED


class Died(Exception):
  """In the place of a kill."""


@pytest.mark.parametrize('steps', range(6))
def test_a_kill_at_any_step_mistakes_no_file(tmp_path, monkeypatch, steps):
  folder, left = fill(tmp_path / 'figures'), [steps]
  whole = {name: getattr(pathlib.Path, name) for name in ('replace', 'unlink')}

  def counted(name):
    def step(path, *more):
      if not left[0]:
        raise Died
      left[0] -= 1
      return whole[name](path, *more)

    return step

  for name in whole:
    monkeypatch.setattr(pathlib.Path, name, counted(name))
  instances = BEFORE
  # What `Workdir.hold` does: the list is written between the two.
  with pytest.raises(Died):
    numbered.detach(folder, instances, AFTER)
    instances = AFTER
    numbered.attach(folder, instances)
  monkeypatch.undo()
  # Meanwhile the data set has changed once more.
  last = ['0', *AFTER]
  numbered.detach(folder, instances, last)
  numbered.attach(folder, last)
  found = {text: name for name, text in held(folder).items()}
  assert found['a b'] == '00002_a_b.png' and found['a_b'] == '00003_a_b.png'
  assert found['stays'] == '00004_s.png' and found['z'] == '00005_z'
  assert 'gone' not in found and not list(folder.glob('.*'))
