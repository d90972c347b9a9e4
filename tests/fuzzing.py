"""Runs cases of `fuzz_targets` in a process that may crash, hang or be stopped.

`python tests/fuzzing.py TARGET CASE` repeats a case, a seed or a name, and says what came of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import select
import subprocess
import sys
import tempfile
import time
from typing import Any

__all__ = ['Fuzzer']

# A case may take five seconds of a processor; who waits longer waits for nothing that comes.
_PATIENCE = 120
_WARMING = 240
# Before a case that took too long is tried again, in seconds.
_PAUSE = 10


class Fuzzer:
  """A worker process, started when it is needed and again when a case has ended it.

  Attributes:
    folder: in which it works.
  """

  def __init__(self, folder: pathlib.Path):
    self.folder = folder
    self._worker: subprocess.Popen[str] | None = None
    self._warm: set[str] = set()
    self._said = folder / 'said.txt'

  def __call__(self, target: str, case: str) -> dict[str, Any]:
    """What came of a case, see `fuzz_worker.one`; one that took too long is tried once more.

    That is after a while, for what slows a machine down passes.
    """
    found = self._ask(target, case)
    if found['outcome'] != 'fell' or 's of processor' not in found['why']:
      return found
    time.sleep(_PAUSE)
    return self._ask(target, case)

  def _ask(self, target: str, case: str) -> dict[str, Any]:
    worker = self._worker or self._start()
    assert worker.stdin is not None and worker.stdout is not None
    patience = _PATIENCE if target in self._warm else _WARMING
    self._warm.add(target)
    try:
      print(target, case, file=worker.stdin, flush=True)
    except BrokenPipeError:
      return self._lost('it had ended before')
    if not select.select([worker.stdout], [], [], patience)[0]:
      return self._lost(f'no answer within {patience} s')
    line = worker.stdout.readline()
    if not line:
      return self._lost('it ended the process')
    found = json.loads(line)
    if found['blunt']:
      self.close()
    return found

  def _start(self) -> subprocess.Popen[str]:
    (self.folder / 'work').mkdir(exist_ok=True)
    script = pathlib.Path(__file__).parent / 'fuzz_worker.py'
    environment = {**os.environ, 'JAX_PLATFORMS': 'cpu', 'TETRIS_CACHE': str(self.folder / 'work')}
    with self._said.open('w') as said:
      self._worker = subprocess.Popen(
        [sys.executable, str(script), str(self.folder / 'work')],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True, env=environment,
      )  # fmt: skip
    self._warm.clear()
    return self._worker

  def _lost(self, what: str) -> dict[str, Any]:
    assert self._worker is not None
    self._worker.kill()
    status = self._worker.wait()
    self.close()
    said = self._said.read_text(errors='replace')[-1500:]
    return {'outcome': 'fell', 'why': f'{what} (status {status}): {said}', 'seconds': 0, 'bytes': 0}

  def close(self) -> None:
    """Ends the worker."""
    if self._worker is not None:
      assert self._worker.stdin is not None and self._worker.stdout is not None
      with contextlib.suppress(BrokenPipeError):  # It has ended with a question unread.
        self._worker.stdin.close()
      self._worker.stdout.close()
      self._worker.wait()
      self._worker = None


if __name__ == '__main__':
  with tempfile.TemporaryDirectory() as place:
    fuzzer = Fuzzer(pathlib.Path(place))
    made = fuzzer(sys.argv[1], sys.argv[2])
    fuzzer.close()
  print(f'{made["outcome"]} in {made["seconds"]:.2f} s, {made["bytes"] / 1e6:.0f} MB')
  print(made['why'])
