"""What settings open: model, data set and preset, or a message that names the flag."""

import types as python_types

import jax
import layouts
import numpy as np
import pytest
import toy

from experiments import attack, heatmap, users
from experiments.lib import opening
from experiments.lib.settings import UsageError
from tetris_jax import crowd, presets
from tetris_jax.data import images


@pytest.fixture(autouse=True)
def toy_zoo(monkeypatch):
  monkeypatch.setattr(opening, 'zoo', toy)


def test_what_is_left_open_is_completed(monkeypatch):
  one = opening.completed(attack.Settings(model='toy'), searched=True)
  assert one.batch_size == 1  # On a CPU, of every device.
  assert (one.zoom, one.disks) == (None, None)
  monkeypatch.setattr(
    toy, 'options', lambda name: {'zoom': ('exact', 'fixed'), 'disks': ('soft', 'hard')}
  )
  for searched, disks in ((True, 'soft'), (False, 'hard')):
    found = opening.completed(users.Settings(model='toy', batch_size=3), searched)
    assert (found.batch_size, found.zoom, found.disks) == (3, 'exact', disks)
  given = heatmap.Settings(model='toy', zoom='fixed', disks='hard', batch_size=1)
  assert opening.completed(given, searched=True) == given


def test_presets_are_changed_as_asked_and_refused_by_flag():
  asked = attack.Settings(depth=0.1, num_beams=2)
  config = opening.open_preset('strong_v1_16', 3, asked)
  assert config.num_clicks == 3 and config.name == 'strong_v1_16_depth_0.1_beams_2'
  assert opening.searches(config) and not opening.searches(presets.get('baseline'))
  for name, changes, message in (
    ('none', {}, '--preset=none: unknown preset'),
    ('tetris', {'depth': 0.1}, r'--depth=0\.1: tetris has no depth'),
    ('tetris', {'num_beams': 2}, '--num_beams=2: tetris carries no beams'),
  ):
    with pytest.raises(UsageError, match=message):
      opening.open_preset(name, 1, attack.Settings(**changes))


def test_a_seed_goes_with_a_search_that_draws():
  fixed = [presets.get('tetris'), presets.get('strong_v1')]
  assert opening.seed_of(attack.Settings(), fixed) == 0
  for seed in (0, 7):
    with pytest.raises(UsageError, match=f'--seed={seed}: tetris, strong_v1 draws nothing'):
      opening.seed_of(attack.Settings(seed=seed), fixed)
  assert opening.seed_of(attack.Settings(seed=7), fixed, crowd.Crowd()) == 7
  drawing = python_types.SimpleNamespace(
    name='random', search=python_types.SimpleNamespace(draws=True)
  )
  assert opening.seed_of(attack.Settings(seed=7), [*fixed, drawing]) == 7


def test_users_follow_a_prior_or_a_folder_of_maps(tmp_path):
  assert opening.open_users(attack.Settings()) == (crowd.Crowd('distance', 64), None)
  assert opening.open_users(attack.Settings(users=0)) == (None, None)
  asked = attack.Settings(users=3, prior='gaussian_0.1')
  assert opening.open_users(asked) == (crowd.Crowd('gaussian_0.1', 3), None)
  with pytest.raises(UsageError, match=r'--prior=best: unknown prior .* or a folder of'):
    opening.open_users(attack.Settings(prior='best'))
  with pytest.raises(UsageError, match=r'--prior=.* has no click map; expected an array'):
    opening.open_users(attack.Settings(prior=str(tmp_path)))
  with pytest.raises(UsageError, match='--prior=uniform: nobody clicks with --users=0'):
    attack.Settings(users=0, prior='uniform')
  np.save(tmp_path / 'a.npy', np.ones((2, 3)))
  users, maps = opening.open_users(attack.Settings(prior=str(tmp_path)))
  assert users == crowd.Crowd('maps', 64) and maps.folder == tmp_path


def test_an_attack_refuses_a_seed_before_anything_is_written(tmp_path):
  with pytest.raises(UsageError, match='--seed=1: tetris draws nothing at random; leave it out'):
    attack.execute(
      attack.Settings(model='toy', seed=1, users=0, workdir=str(tmp_path / 'w'))
    )
  assert not (tmp_path / 'w').exists()


def test_a_model_is_opened_with_its_choices(monkeypatch):
  assert opening.open_segmenter(attack.Settings(model='toy')).info.name == 'toy'
  with pytest.raises(UsageError, match='--model=none is unknown; known models: toy'):
    opening.open_segmenter(attack.Settings(model='none'))
  for option, value in (
    ('zoom', 'exact'), ('disks', 'hard'), ('mask_choice', 'single'), ('feedback', 'always'),
    ('precision', 'bfloat16'), ('hq', 'added'),
  ):
    message = f'--{option}={value} with --model=toy: it has no such choice'
    with pytest.raises(UsageError, match=message):
      opening.open_segmenter(attack.Settings(model='toy', **{option: value}))

  def refuse(name, weights=None):
    raise OSError('no file')

  monkeypatch.setattr(toy, 'segmenter', refuse)
  with pytest.raises(UsageError, match=r'--weights=w\.pth: no file'):
    opening.open_segmenter(attack.Settings(model='toy', weights='w.pth'))


def test_a_data_set_is_opened_up_to_the_limit(tmp_path):
  toy.write_folder(tmp_path, ((40, 56), (48, 48), (40, 40)))
  asked = {'dataset': 'folder', 'data_dir': str(tmp_path)}
  assert opening.open_dataset(users.Settings(**asked)).names == ('p0', 'p1', 'p2')
  assert opening.open_dataset(users.Settings(**asked, limit=2)).names == ('p0', 'p1')
  with pytest.raises(UsageError, match='--objects'):
    opening.open_dataset(users.Settings(**asked, objects='all'))


def test_masks_are_looked_through_once_and_as_far_as_the_limit(tmp_path, monkeypatch, capsys):
  toy.write_folder(tmp_path, ((40, 56), (48, 48), (40, 40)))
  monkeypatch.setenv('TETRIS_CACHE', str(tmp_path / 'cache'))
  looked = []
  original = images.read_mask
  monkeypatch.setattr(
    images, 'read_mask', lambda path, **how: looked.append(path.stem) or original(path, **how)
  )
  asked = {'dataset': 'folder', 'data_dir': str(tmp_path), 'objects': 'ids'}
  assert len(opening.open_dataset(users.Settings(**asked, limit=1))) == 1
  assert looked == ['p0']
  whole = opening.open_dataset(users.Settings(**asked))
  assert sorted(looked) == ['p0', 'p1', 'p2']
  assert opening.open_dataset(users.Settings(**asked)).names == whole.names
  assert len(looked) == 3
  # A cache that is in the way stops nothing.
  monkeypatch.setenv('TETRIS_CACHE', str(tmp_path / 'images' / 'p0.png'))
  assert opening.open_dataset(users.Settings(**asked)).names == whole.names
  assert 'what masks hold is not kept for the next run: ' in capsys.readouterr().err


@pytest.mark.parametrize('program', [attack, heatmap, users])
def test_no_program_looks_further_than_its_limit(tmp_path, monkeypatch, program):
  toy.write_folder(tmp_path / 'd', ((40, 56),) * 5)
  monkeypatch.setenv('TETRIS_CACHE', str(tmp_path / 'cache'))
  looked = set()
  original = images.read_mask

  def read_mask(path, **how):
    looked.add(path.stem)
    return original(path, **how)

  def stop(settings):
    raise UsageError('enough')

  monkeypatch.setattr(images, 'read_mask', read_mask)
  monkeypatch.setattr(opening, 'open_segmenter', stop)
  every = {'every': 3} if program is heatmap else {}
  asked = {'dataset': 'folder', 'data_dir': str(tmp_path / 'd'), 'objects': 'ids', **every}
  with pytest.raises(UsageError, match='enough'):
    program.execute(program.Settings(model='toy', limit=1, **asked))
  assert looked == ({'p0', 'p1', 'p2'} if every else {'p0'})


def test_a_data_set_without_instances_is_refused(tmp_path, capsys):
  layouts.save(tmp_path / 'img' / 'a.jpg', layouts.picture(size=(40, 60)))
  numbers = np.where(layouts.thin() == 2, 2, 0)
  layouts.save_mat(tmp_path / 'inst' / 'a.mat', numbers)
  (tmp_path / 'val.txt').write_text('a\n')
  with pytest.raises(UsageError, match=r'^--dataset=sbd, --data_dir=.* has no instance: there is'):
    opening.open_dataset(users.Settings(dataset='sbd', data_dir=str(tmp_path)))
  # Why there is none stands before it.
  assert 'note: SBD: 1 objects that fill less than 8 % of their' in capsys.readouterr().err


def test_notes_go_to_standard_error(tmp_path, capsys):
  toy.write_folder(tmp_path, ((40, 56),))
  mask = next((tmp_path / 'masks').iterdir())
  mask.rename(mask.with_name(f'p0_mask{mask.suffix}'))
  opening.open_dataset(users.Settings(dataset='folder', data_dir=str(tmp_path)))
  assert capsys.readouterr().err.startswith('note: masks/p0_mask')


def test_compiled_programs_are_kept_beside_the_weights_or_where_asked(monkeypatch, tmp_path):
  chosen = []
  monkeypatch.setattr(jax.config, 'update', lambda *args: chosen.append(args))
  monkeypatch.setenv('TETRIS_CACHE', str(tmp_path))
  monkeypatch.delenv('JAX_COMPILATION_CACHE_DIR', raising=False)
  opening.keep_compiled_programs()
  assert chosen == [('jax_compilation_cache_dir', str(tmp_path / 'xla'))]
  monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', '/elsewhere')
  opening.keep_compiled_programs()
  assert len(chosen) == 1
