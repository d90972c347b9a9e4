"""The one exception of weights: a ValueError, and what every reader of them raises."""

import io

import numpy as np
import pytest
import torch_pickles as tp

from ports.weights import archives, cache, checkpoints, convert, downloads, torch_files
from ports.weights.errors import CheckpointError, Misfit


def test_it_is_a_value_error_that_keeps_its_text():
  error = CheckpointError('a.pt: truncated')
  assert isinstance(error, ValueError) and str(error) == 'a.pt: truncated'


@pytest.mark.parametrize('fails', [
  lambda folder: archives.read_member(folder / 'none.tgz', 'a', 1),
  lambda folder: cache.restore(folder / 'none'),
  lambda folder: checkpoints.read(folder / 'none.pt'),
  lambda folder: checkpoints.read_safetensors(io.BytesIO(b'')),
  lambda folder: convert.convert({'a': np.ones(1)}, [], {}),
  lambda folder: downloads.download('http://a/a', folder / 'a', 1),
  lambda folder: torch_files.read_torch(io.BytesIO(b'')),
  lambda folder: checkpoints.read(
    tp.write_state(folder / 'a.pt', {'w': np.full(1, np.nan, np.float32)})
  ),
])
def test_whatever_is_wrong_with_weights_is_one_kind_of_error(tmp_path, fails):
  with pytest.raises(CheckpointError):
    fails(tmp_path)


def test_a_misfit_is_a_summary_and_keeps_the_whole():
  wanted = [f'{part}.{i}' for part in 'ab' for i in range(5)]
  faults = [*(f'missing: a.{i}' for i in range(5)), 'unknown: c of shape (1,)']
  misfit = Misfit(faults, wanted)
  misfit.file, misfit.hints = 'x.pt', ['It fits y.']
  assert str(misfit).splitlines() == [
    'x.pt: the checkpoint does not fit the network, 6 faults (5 missing, 1 unknown):',
    '  missing: a.0', '  missing: a.1', '  missing: a.2', '  missing: 2 more',
    '  unknown: c of shape (1,)',
    'Nothing of a is in it, which holds a part of the network.',
    'It fits y.',
  ]
  assert misfit.faults == tuple(faults) and misfit.wanted == set(wanted)
  assert "None of the network's names is in it." in str(Misfit(['missing: a.0'], ['a.0']))
  assert 'All names are right' in str(Misfit(['misshapen: a.0'], wanted))
  assert len(str(Misfit(['unknown: z'], wanted)).splitlines()) == 2
