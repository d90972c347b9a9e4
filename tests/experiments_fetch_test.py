"""Tests of `python -m experiments.fetch` as a user runs it: exit status, output, what it keeps."""

import hashlib
import json
import os
import pathlib
import subprocess
import sys

import golden_weights
import pytest
import torch_pickles as tp

ROOT = pathlib.Path(__file__).parents[1]


def fetch(cache, *arguments):
  return subprocess.run(
    [sys.executable, '-m', 'experiments.fetch', *arguments],
    cwd=ROOT,
    env={**os.environ, 'TETRIS_CACHE': str(cache)},
    capture_output=True,
    text=True,
    timeout=300,
    check=False,
  )


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
  """A file in the layout of mobile_sam.pt with made-up weights, and its sum."""
  listing = json.loads((ROOT / 'tests' / 'golden' / 'mobilesam_vit_t.json').read_text())
  state = golden_weights.golden_state_dict(listing)
  path = tp.write_state(tmp_path_factory.mktemp('weights') / 'mobile_sam.pt', state)
  return path, hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.slow
def test_a_checkpoint_is_converted_kept_and_not_converted_again(tmp_path, checkpoint):
  path, sha256 = checkpoint
  arguments = (f'--source={path}', f'--sha256={sha256}')
  done = fetch(tmp_path / 'cache', *arguments)
  assert done.returncode == 0, done.stderr
  assert f'{sha256}  mobile_sam.pt' in done.stdout
  assert '327 arrays' in done.stdout and 'converting' in done.stderr
  (folder,) = (tmp_path / 'cache' / 'weights').iterdir()
  assert json.loads((folder / 'record.json').read_text())['sources'] == {'mobile_sam.pt': sha256}
  again = fetch(tmp_path / 'cache', *arguments)
  assert again.returncode == 0 and again.stdout == done.stdout
  assert 'converting' not in again.stderr


def test_a_file_with_another_sum_is_refused_in_one_line(tmp_path, checkpoint):
  path, sha256 = checkpoint
  done = fetch(tmp_path / 'cache', f'--source={path}')
  assert done.returncode == 2 and 'Traceback' not in done.stderr
  assert f'mobile_sam.pt: sha256 is {sha256}' in done.stderr
  assert not (tmp_path / 'cache').exists()


def test_a_hostile_file_is_refused_by_name_even_with_the_right_sum(tmp_path):
  call = b'cposix\nsystem\n(' + tp.text(f'touch {tmp_path}/run') + b'tR'
  path = tp.write_zip(tmp_path / 'a.pt', {'a/data.pkl': tp.whole(tp.dictionary({'w': call}))})
  sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
  done = fetch(tmp_path / 'cache', f'--source={path}', f'--sha256={sha256}')
  assert done.returncode == 2 and 'Traceback' not in done.stderr
  assert 'a.pt' in done.stderr and 'posix.system' in done.stderr
  assert not (tmp_path / 'run').exists()


@pytest.mark.slow
@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (('--model=none',), 'unknown model "none"; known: adaptiveclick'),
    (('--source=/no/such/file.pt',), 'cannot be read'),
    (('--source=http://a/mobile_sam.pt',), 'only https'),
    (('--sha256=00',), '--sha256 goes with --source'),
  ],
)
def test_bad_arguments_are_named(tmp_path, arguments, message):
  done = fetch(tmp_path / 'cache', *arguments)
  assert done.returncode == 2 and 'Traceback' not in done.stderr
  assert message in done.stderr + done.stdout
