"""Threads with items between them: one reads, several measure, one writes, one works ahead."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

__all__ = ['flow']

_Read = TypeVar('_Read')
_Future = concurrent.futures.Future


def flow(
  numbers: Sequence[int],
  read: Callable[[int], _Read],
  measure: Callable[[int, _Future[_Read]], Callable[[], None]],
  at_once: int,
  ahead: Sequence[Callable[[], None]] = (),
) -> None:
  """Takes items through; they are read in order, and end in whatever order they are measured.

  As many are read ahead as are measured at once, and as many may wait to be written.

  Args:
    numbers: of the items.
    read: on the thread 'reader', from a number.
    measure: on one of the threads 'device', from a number and what is read of it; returns what
      remains to be done, on the thread 'writer'.
    at_once: how many are measured at the same time.
    ahead: what a thread 'compiler' does for items to come, once the first has been measured; what
      is raised is lost, and given up what the last measured item has not left time for.

  Raises:
    BaseException: what `measure` or what it returned has raised; what was measured before is
      written all the same.
  """
  running: set[_Future[Callable[[], None]]] = set()
  writing: collections.deque[_Future[None]] = collections.deque()
  with (
    concurrent.futures.ThreadPoolExecutor(1, 'reader') as reader,
    concurrent.futures.ThreadPoolExecutor(at_once, 'device') as devices,
    concurrent.futures.ThreadPoolExecutor(1, 'writer') as writer,
    _beside(ahead) as begin,
  ):
    def settle() -> None:
      done, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
      running.difference_update(done)
      begin()
      raised = None
      for one in done:
        raised = raised or one.exception()
        if one.exception() is None:
          writing.append(writer.submit(one.result()))
      if raised is not None:
        raise raised
      while len(writing) > at_once:
        writing.popleft().result()

    try:
      for number, upcoming in _ahead(lambda one: reader.submit(read, one), numbers, at_once):
        while len(running) >= at_once:
          settle()
        while writing and writing[0].done():
          writing.popleft().result()  # A full disk is told before another item is measured.
        running.add(devices.submit(measure, number, upcoming))
      while running:
        settle()
    except BaseException:
      reader.shutdown(wait=False, cancel_futures=True)
      raise
  for written in writing:
    written.result()


@contextlib.contextmanager
def _beside(calls: Sequence[Callable[[], None]]) -> Iterator[Callable[[], None]]:
  """Gives what makes a thread begin with the calls; when left, those not begun are given up."""
  left = collections.deque(calls)
  with concurrent.futures.ThreadPoolExecutor(1, 'compiler') as compiler:

    def begin() -> None:
      while left:
        compiler.submit(left.popleft())

    try:
      yield begin
    finally:
      compiler.shutdown(wait=False, cancel_futures=True)


def _ahead(
  submit: Callable[[int], _Future[_Read]], numbers: Sequence[int], count: int
) -> Iterator[tuple[int, _Future[_Read]]]:
  """Numbers with their futures; when one is handed out, the next `count` have been submitted."""
  submitted: collections.deque[tuple[int, _Future[_Read]]] = collections.deque()
  for number in numbers:
    submitted.append((number, submit(number)))
    if len(submitted) > count:
      yield submitted.popleft()
  yield from submitted
