"""Damaged and hostile files of every format: a value or an error of ours, and nothing else.

Each case is read in another process, in at most five seconds of a processor and in the file's size
plus 500 MB; no program is started there and nothing is written. By default this takes about a
minute. For long: `pytest tests/fuzz_test.py --fuzz_minutes=60`, with cases that are drawn anew. One
case again: `python tests/fuzzing.py TARGET CASE`, as its failure says.
"""

import random
import time

import fuzzing
import pytest
from fuzz_targets import TARGETS

# How many cases are drawn by default, of what is quick and of all, always the same.
FEW, CASES = 12, 60
QUICK = ('tree', 'stream', 'safetensors', 'png', 'gif', 'tiff', 'rclicks', 'attack', 'index')
# Of these hardly any is whole.
REFUSED = ('program', 'json-clicks', 'figure')


@pytest.fixture(scope='module')
def fuzz(tmp_path_factory):
  """Runs cases; the worker's start, some seconds, is shared."""
  made = fuzzing.Fuzzer(tmp_path_factory.mktemp('fuzz'))
  yield made
  made.close()


def fallen(fuzz, target, cases, until=None):
  """How many cases were read and refused, and what is to be said of those that were neither."""
  counts, found = {'read': 0, 'refused': 0, 'fell': 0}, []
  for case in cases:
    if until is not None and time.monotonic() > until:
      break
    made = fuzz(target, case)
    counts[made['outcome']] += 1
    if made['outcome'] == 'fell':
      found.append(f'python tests/fuzzing.py {target} {case}\n{made["why"]}')
  return counts, '\n'.join(found[:5])


@pytest.mark.parametrize('target', QUICK)
def test_some_damage_is_read_or_refused(fuzz, target):
  counts, found = fallen(fuzz, target, ['', *map(str, range(FEW))])
  assert not found, found
  assert counts['read'] and counts['refused']


@pytest.mark.slow
@pytest.mark.parametrize('target', TARGETS)
def test_hostile_files_are_read_or_refused(fuzz, target):
  _, found = fallen(fuzz, target, TARGETS[target].cases)
  assert not found, found


@pytest.mark.slow
@pytest.mark.parametrize('target', TARGETS)
def test_damage_is_read_or_refused(fuzz, target, fuzz_minutes):
  assert fuzz(target, '')['outcome'] == 'read'
  if fuzz_minutes:
    start = random.SystemRandom().randrange(10**9)
    until = time.monotonic() + 60 * fuzz_minutes / len(TARGETS)
    counts, found = fallen(fuzz, target, map(str, range(start, start + 10**8)), until)
  else:
    cases = map(str, range(1000, 1000 + CASES))
    counts, found = fallen(fuzz, target, cases)
  print(f'{target}: {counts}')
  assert not found, found
  assert counts['refused'] and (counts['read'] or target in REFUSED), counts


@pytest.mark.slow
@pytest.mark.parametrize(('habit', 'said'), [
  ('starts a program', 'subprocess.Popen'), ('runs a command', 'os.system'),
  ('writes elsewhere', "open ('/tmp/"), ('removes elsewhere', 'os.remove'),
  ('runs code', 'exec'), ('loads a pickle', 'pickle.find_class'), ('takes memory', ' bytes for a'),
  ('asks for memory', 'MemoryError'), ('goes on', ' s of processor'), ('waits', 'Late'),
  ('crashes', 'it ended the process'), ('raises', 'KeyError'), ('says nothing', 'a message of 0'),
])  # fmt: skip
def test_what_a_reader_may_not_do_is_noticed(fuzz, habit, said):
  made = fuzz('habits', habit.replace(' ', '-'))
  assert made['outcome'] == 'fell' and said in made['why'], made
