"""Items through threads: order of reading, order of ending, what is bounded, what is raised."""

import functools
import threading

import pytest

from experiments.lib import pipeline


def through(numbers, at_once, measure, read=lambda number: number * 10):
  done = []

  def measured(number, upcoming):
    value = measure(number, upcoming.result())
    return lambda: done.append((number, value))

  pipeline.flow(numbers, read, measured, at_once)
  return done


def test_everything_is_done_once():
  assert through(range(9), 1, lambda number, value: value + 1) == [
    (number, 10 * number + 1) for number in range(9)
  ]
  assert sorted(through(range(9), 4, lambda number, value: value)) == [
    (number, 10 * number) for number in range(9)
  ]
  assert through([], 2, lambda number, value: value) == []


def test_items_end_in_any_order_and_as_many_run_at_once():
  last = threading.Event()
  names = set()

  def measure(number, value):
    names.add(threading.current_thread().name)
    if number == 0:
      assert last.wait(60)  # Until others have been measured on the other device.
    if number == 4:
      last.set()
    return value

  done = through(range(6), 2, measure)
  order = [number for number, _ in done]
  assert sorted(order) == [*range(6)] and order.index(0) > order.index(3) and len(names) == 2


def test_no_more_is_read_ahead_than_is_measured_at_once():
  read, most = [], []

  def measure(number, value):
    most.append(len(read) - number)
    return value

  through(range(12), 1, measure, read=lambda number: read.append(number) or number)
  # This one, the next, and perhaps the one after, whose turn came when this one began.
  assert max(most) <= 3


@pytest.mark.parametrize('error', [ValueError('bad'), KeyboardInterrupt()])
def test_what_is_raised_comes_out_after_what_was_measured_is_written(error):
  done = []

  def measured(number, upcoming):
    if upcoming.result() == 3:
      raise error
    return lambda: done.append(number)

  with pytest.raises(type(error)):
    pipeline.flow(range(100), lambda number: number, measured, 1)
  assert done == [0, 1, 2]


def test_what_cannot_be_read_is_for_who_measures():
  def read(number):
    raise OSError(number)

  seen = []
  pipeline.flow([1, 2], read, lambda number, one: lambda: seen.append(one.exception().args), 1)
  assert seen == [(1,), (2,)]


def test_what_cannot_be_written_ends_it_soon():
  measured = []

  def full():
    raise OSError('no space')

  def measure(number, upcoming):
    measured.append(number)
    return full

  with pytest.raises(OSError, match='no space'):
    pipeline.flow(range(1000), lambda number: number, measure, 2)
  assert len(measured) < 20


def test_what_comes_later_is_begun_after_the_first_item_and_holds_nothing_up():
  calls, begun = [], threading.Event()

  def ahead(name):
    calls.append((name, threading.current_thread().name.split('_')[0]))
    begun.set()
    raise ValueError('is lost')

  def measured(number, upcoming):
    upcoming.result()
    if number == 0:
      assert not begun.wait(0.05)
    if number == 1:
      assert begun.wait(60)
    calls.append(number)
    return lambda: None

  coming = [functools.partial(ahead, name) for name in 'ab']
  pipeline.flow(range(3), lambda number: number, measured, 1, coming)
  assert calls[0] == 0 and calls[1] == ('a', 'compiler')
  assert [one for one in calls if isinstance(one, int)] == [0, 1, 2]


def test_what_was_not_begun_is_given_up_with_the_last_item():
  release, calls = threading.Event(), []

  def measured(number, upcoming):
    upcoming.result()
    if number == 1:
      threading.Timer(0.1, release.set).start()
    return lambda: None

  coming = [lambda: calls.append(release.wait(60)), *[lambda: calls.append('late')] * 50]
  pipeline.flow(range(2), lambda number: number, measured, 1, coming)
  assert calls == [True]
