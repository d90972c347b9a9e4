"""The progress line: on a terminal, in a file, and from several threads."""

import concurrent.futures
import threading

import pytest

from experiments.lib import progress


def test_progress_is_quiet_in_a_file_and_counts():
  class Stream:
    def __init__(self, terminal):
      self.text, self.terminal = '', terminal

    def isatty(self):
      return self.terminal

    def write(self, text):
      self.text += text

    def flush(self):
      pass

  for terminal in (False, True):
    stream = Stream(terminal)
    bar = progress.Progress(6, 2, stream)
    bar.advance(1, 30, 2.0)
    assert ('3/6 instances, 15.0 evaluations/s' in stream.text) == terminal
    bar.advance(3, 90, 2.0)
    bar.close()
    assert stream.text.endswith('\n')
    assert '6/6 instances, 30.0 evaluations/s' in stream.text


@pytest.mark.parametrize(
  ('seconds', 'text'),
  [(0, '0 s'), (59.4, '59 s'), (59.6, '1 min 00 s'), (185, '3 min 05 s'), (7800, '2 h 10 min')],
)
def test_durations(seconds, text):
  assert progress.duration(seconds) == text


def test_lines_of_several_threads_stay_whole():
  class Stream:
    def __init__(self):
      self.text = ''

    def isatty(self):
      return True

    def write(self, text):
      for letter in text:
        self.text += letter

    def flush(self):
      pass

  stream = Stream()
  bar = progress.Progress(40, 0, stream)
  with concurrent.futures.ThreadPoolExecutor(4) as pool:
    list(pool.map(lambda k: (bar.say('x' * 50), bar.advance(1, 1, 1.0)), range(40)))
  bar.close()
  whole = [line for line in stream.text.replace('\r', '\n').split('\n') if line.startswith('x')]
  assert whole == ['x' * 50] * 40
  assert '40/40 instances' in stream.text


class Screen:
  """A stream that may be a terminal."""

  def __init__(self, terminal):
    self.text, self.terminal = '', terminal
    self.told = threading.Event()

  def isatty(self):
    return self.terminal

  def write(self, text):
    self.text += text
    if 'so far' in text:
      self.told.set()

  def flush(self):
    pass


@pytest.mark.parametrize('terminal', [False, True])
def test_what_takes_long_says_so_until_it_ends(monkeypatch, terminal):
  monkeypatch.setattr(progress, '_SECONDS_BETWEEN_LINES', 0.01)
  monkeypatch.setattr(progress, '_SECONDS_BETWEEN_REWRITES', 0.01)
  screen = Screen(terminal)
  line = progress.Line(screen)
  with pytest.raises(ZeroDivisionError), progress.ticking('working', line.say, line=line):
    assert screen.text == 'working\n' or 'so far' in screen.text
    assert screen.told.wait(60)
    raise ZeroDivisionError
  assert screen.text.startswith('working\n')
  assert ('\rworking: 0 s so far' if terminal else '\nworking: 0 s so far\n') in screen.text
  # On a terminal the last line is taken away.
  assert screen.text.endswith('\r' if terminal else '\n')
  before = screen.text
  line.say('next')
  assert screen.text == before + 'next\n'
  assert not [one for one in threading.enumerate() if one.name == 'ticking']


def test_what_ends_at_once_may_be_silent():
  said = []
  with progress.ticking('working', said.append, after=60.0):
    pass
  assert said == []
  with progress.ticking('working', said.append):
    pass
  assert said == ['working']


def test_long_things_are_said_from_then_on(monkeypatch):
  screen = Screen(False)
  line = progress.Line(screen)
  monkeypatch.setattr(progress, '_SECONDS_BETWEEN_LINES', 0.01)
  with progress.ticking('working', line.say, line=line, after=0.01):
    assert screen.told.wait(60)
  assert screen.text.startswith('working\nworking: 0 s so far\n')


def test_standard_error_is_that_of_the_moment(capsys):
  progress.STDERR.say('now')
  assert capsys.readouterr() == ('', 'now\n')
