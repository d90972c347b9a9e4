"""What a run leaves on disk, with its speed beside it or apart."""

import json
import pathlib

import pytest
import runs
from report_attack_tables_test import CONFIG

from tetris_jax.report.attack import summary, write
from tetris_jax.runs import workdirs

TOTALS = {'seconds': 2.0, 'compile_seconds': 1.0, 'evaluations': 100.0, 'programs': 3}


@pytest.fixture
def workdir(tmp_path):
  (tmp_path / 'figures').mkdir()
  return workdirs.Workdir(tmp_path)


def names(folder):
  return {file.relative_to(folder).as_posix() for file in folder.rglob('*') if file.is_file()}


def test_a_run_leaves_a_summary_a_report_and_curves(workdir):
  picture = lambda name: pathlib.Path('figures') / f'{name}.png' if name == 'a' else None
  made = write.write_run(workdir, runs.MIXED, CONFIG, TOTALS, picture)
  assert names(workdir.path) == {'figures/curves.png', 'report.md', 'summary.json'}
  assert json.loads((workdir.path / 'summary.json').read_text()) == made
  assert made['d'] == summary.summarise(runs.MIXED, 'toy', 'tetris', 2)['d']
  assert (made['evaluations_per_second'], made['programs']) == (50.0, 3)
  text = (workdir.path / 'report.md').read_text()
  assert '| [a](figures/a.png) |' in text and '| b |' in text
  assert '| Speed | 50.0 evaluations/s, compiling aside |' in text


def test_speed_kept_apart_is_in_no_other_file(workdir):
  made = write.write_run(workdir, runs.MIXED, CONFIG, TOTALS, lambda name: None, speed_apart=True)
  speed = json.loads((workdir.path / 'speed.json').read_text())
  written = json.loads((workdir.path / 'summary.json').read_text())
  assert speed['evaluations_per_second'] == 50.0 and not speed.keys() & written.keys()
  assert made == written | speed
  assert 'Speed' not in (workdir.path / 'report.md').read_text()


def test_a_run_without_numbers_has_no_curves(workdir):
  write.write_run(workdir, runs.MIXED[2:], CONFIG, TOTALS, lambda name: None)
  assert names(workdir.path) == {'report.md', 'summary.json'}
