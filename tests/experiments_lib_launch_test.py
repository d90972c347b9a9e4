"""How programs start and end: each ending has its code, and is said in one message."""

import dataclasses

import pytest
from absl import flags as absl_flags

from experiments.lib import launch, settings
from experiments.lib.settings import UsageError, setting
from tetris_jax.runs import workdirs as results


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked(settings.Plugins):
  """A flag beside those of every program."""

  number: int = setting(1, 'A number.', least=1)


def run(*given, execute=lambda asked: 0, **how):
  return launch.run('Does things.\n\nAnd more.', Asked, execute, ['program', *given], **how)


def raising(error):
  def execute(asked):
    raise error

  return execute


def test_settings_reach_the_program_and_its_code_comes_back():
  seen = []
  assert run('--number=5', execute=lambda asked: seen.append(asked) or 3) == 3
  assert seen == [Asked(number=5)]
  assert 'number' not in absl_flags.FLAGS


@pytest.mark.parametrize('flag', ['--help', '-h'])
def test_help_is_the_docstring_and_the_flags(flag, capsys):
  assert run('--number=2', flag, execute=raising(AssertionError('ran'))) == 0
  said = capsys.readouterr()
  assert said.out.startswith('Does things.\n\nAnd more.\n\nflags:\n') and '--number:' in said.out
  assert said.err == ''


@pytest.mark.parametrize(('given', 'message'), [
  ('--numbre=1', "Unknown command line flag 'numbre'. Did you mean: number ? (--help lists the "
   'flags)'),
  ('--number=x', "flag --number=x: invalid literal for int() with base 10: 'x' (--help lists the "
   'flags)'),
  ('--number', 'Missing value for flag --number (--help lists the flags)'),
  ('--number=0', '--number=0: expected at least 1'),
  ('number=1', "unexpected argument 'number=1'; flags are given as --name=value"),
  ('--plugins=no_such_plugin', '--plugins=no_such_plugin: there is no module no_such_plugin in '),
])
def test_a_wrong_command_line_ends_with_2_and_one_message(given, message, capsys):
  assert run(given, execute=raising(AssertionError('ran'))) == 2
  said = capsys.readouterr()
  assert said.err.startswith(f'error: {message}') and said.err.count('\n') == 1
  assert said.out == ''


def test_errors_end_with_2_and_interruptions_with_130(capsys):
  for error in (UsageError('--number: no'), results.WorkdirError('w is a file')):
    assert run(execute=raising(error)) == 2
    assert capsys.readouterr().err == f'error: {error}\n'
  for resumes in (True, False):
    assert run(execute=raising(KeyboardInterrupt()), resumes=resumes) == 130
    said = capsys.readouterr().err
    assert 'interrupted' in said and ('resumes the run' in said) == resumes


def test_what_nobody_foresaw_shows_its_traceback():
  with pytest.raises(ZeroDivisionError):
    run(execute=raising(ZeroDivisionError('x')))


def rows(**counts):
  made = [
    {'instance': f'{status}{k}', 'status': status, 'reason': f'because {k}'}
    for status, count in counts.items()
    for k in range(count)
  ]
  return made, {f'n_{status}': counts.get(status, 0) for status in ('ok', 'failed', 'skipped')}


@pytest.mark.parametrize(('counts', 'code', 'measured'), [
  ({'ok': 2}, 0, True),
  ({'ok': 1, 'skipped': 2}, 0, True),
  ({'ok': 1, 'failed': 1}, 3, True),
  ({'failed': 2}, 3, False),
  ({'failed': 1, 'skipped': 1}, 3, False),
  ({'skipped': 2}, 2, False),
])
def test_rows_decide_the_code(counts, code, measured, capsys):
  assert launch.exit_status(*rows(**counts), 'w/report.md') == code
  said = capsys.readouterr().err
  assert ('error: no instance was measured; see w/report.md' in said) != measured
  assert ('failed0: failed, because 0\n' in said) == ('failed' in counts)


def test_a_shard_without_instances_is_done(capsys):
  assert launch.exit_status([], {'n_ok': 0, 'n_failed': 0}, 'report.md') == 0
  assert 'fewer batches than shards' in capsys.readouterr().out


def test_ten_reasons_are_told_and_the_others_counted(capsys):
  launch.tell_failed(rows(failed=13, ok=1)[0], 'w/rows.jsonl')
  lines = capsys.readouterr().err.splitlines()
  assert lines == [
    *(f'failed{k}: failed, because {k}' for k in range(10)), 'and 3 more, see w/rows.jsonl'
  ]
  launch.tell_failed(rows(failed=10)[0], 'w/rows.jsonl')
  assert len(capsys.readouterr().err.splitlines()) == 10
  skipped = [
    {'instance': f's{k}', 'status': 'skipped', 'reason': 'its mask is empty'} for k in range(3)
  ]
  launch.tell_failed(skipped, 'w/rows.jsonl')
  assert capsys.readouterr().err == '3 skipped, such as s0: its mask is empty\n'


def test_names_cannot_write_lines_of_their_own(capsys):
  made = [
    {'instance': 'a\nerror: \x1b[31m', 'status': status, 'reason': 'it\ris'}
    for status in ('failed', 'skipped')
  ]
  launch.tell_failed(made, 'w/rows.jsonl')
  assert capsys.readouterr().err == (
    'a error: ?[31m: failed, it is\n1 skipped, such as a error: ?[31m: it is\n'
  )


def test_which_shard_this_is_is_said_before_a_device_is_asked_for(monkeypatch, capsys):
  @dataclasses.dataclass(frozen=True, kw_only=True)
  class Sharded(Asked, settings.Run):
    pass

  for name in ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE'):
    monkeypatch.setenv(name, '3')
  call = lambda *given: launch.run('', Sharded, lambda asked: 0, ['x', '--shard=auto', *given])
  assert call() == 2
  assert 'Open MPI says that this is process 3 of 3' in capsys.readouterr().err
  monkeypatch.setenv('OMPI_COMM_WORLD_SIZE', '4')
  assert call() == 0 and capsys.readouterr().err == 'shard 3 of 4\n'


def test_the_first_line_says_what_is_done_before_devices_are_asked_for(monkeypatch, capsys):
  @dataclasses.dataclass(frozen=True, kw_only=True)
  class Measuring(Asked):
    @property
    def doing(self):
      return f'measuring {self.number}'

    @property
    def uses_device(self):
      return self.number > 1

  checked = []

  def check():
    checked.append(capsys.readouterr().err)
    raise UsageError('no device')

  monkeypatch.setattr(launch.devices, 'check', check)
  call = lambda number: launch.run('', Measuring, lambda asked: 0, ['x', f'--number={number}'])
  assert call(1) == 0 and capsys.readouterr().err == 'measuring 1\n'
  assert call(2) == 2 and checked == ['measuring 2\n']
  assert capsys.readouterr().err == 'error: no device\n'
