"""The progress line: on a terminal, in a file, and from several threads."""

import concurrent.futures

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
