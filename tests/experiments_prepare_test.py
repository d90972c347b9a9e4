"""The program that prepares data sets: what it refuses; what it writes is tested with its data."""

import pytest

from experiments import prepare


@pytest.mark.parametrize(('given', 'message'), [
  ((), '--dataset and --data_dir are needed'),
  (('--dataset=sbd',), '--dataset and --data_dir are needed'),
  (('--dataset=coco', '--data_dir=d'), '--dataset=coco: expected one of berkeley, coco_mval'),
  (('--dataset=sbd', '--data_dir=/nowhere'), 'does not exist'),
  (('--data=sbd',), "Unknown command line flag 'data'. Did you mean: "),
])
def test_what_cannot_be_prepared_ends_with_2(given, message, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  assert prepare.main(['prepare', *given]) == 2
  said = capsys.readouterr()
  assert 'error: ' in said.err and message in said.err
  assert not list(tmp_path.iterdir())


def test_help_lists_what_can_be_prepared(capsys):
  assert prepare.main(['prepare', '--help']) == 0
  said = ' '.join(capsys.readouterr().out.split())
  assert 'One of berkeley, coco_mval, davis, grabcut, sbd, tetris.' in said
