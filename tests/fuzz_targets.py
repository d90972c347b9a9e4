"""What is damaged and read: a target a format, each with the errors that its readers may raise."""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
import pickle
import random
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import Any

import fuzz_pictures
import fuzz_runs
import fuzz_texts
import fuzz_weights
import hostile_weights
import numpy as np

from ports.weights.errors import CheckpointError
from tetris_jax.data import DataError
from tetris_jax.data.images import UnreadableImage
from tetris_jax.runs.workdirs import DamagedShardError, WorkdirError

__all__ = ['HABITS', 'TARGETS', 'Target']

Case = Callable[[pathlib.Path], pathlib.Path]


@dataclasses.dataclass(frozen=True)
class Target:
  """A format.

  Attributes:
    name: of it.
    make: (empty folder, draw) -> the damaged file or folder; without a draw it is sound.
    read: reads it as programs do, and checks what comes.
    errors: that it may raise.
    cases: files with a name, by what is wrong with them.
  """

  name: str
  make: Callable[[pathlib.Path, random.Random | None], pathlib.Path]
  read: Callable[[pathlib.Path], object]
  errors: tuple[type[Exception], ...]
  cases: Mapping[str, Case]


def _all() -> list[Target]:
  found = []
  modules: tuple[tuple[Any, Mapping[str, Any], tuple[type[Exception], ...]], ...] = (
    (fuzz_weights, hostile_weights.CASES, (CheckpointError,)),
    (fuzz_pictures, fuzz_pictures.CASES, (UnreadableImage, DataError)),
    (fuzz_texts, fuzz_texts.CASES, (DataError,)),
    (fuzz_runs, fuzz_runs.CASES, (WorkdirError, DamagedShardError)),
  )
  for module, cases, errors in modules:
    for kind in module.KINDS:
      make = functools.partial(module.make, kind)
      found.append(Target(kind, make, module.read, errors, cases.get(kind, {})))
  return found


def _put(folder: pathlib.Path, name: str = '') -> pathlib.Path:
  (folder / 'file').write_text(name)
  return folder / 'file'


def _behave(path: pathlib.Path) -> None:
  """Does what the file is about, and what no reader may do."""
  name = path.read_text()
  outside = '/tmp/tetris_fuzz_habit'
  if name == 'starts-a-program':
    subprocess.run(['true'], check=True)
  elif name == 'runs-a-command':
    os.system('true')
  elif name == 'writes-elsewhere':
    open(outside, 'w').close()
  elif name == 'removes-elsewhere':
    pathlib.Path(outside).unlink(missing_ok=True)
  elif name == 'runs-code':
    exec('1 + 1')
  elif name == 'loads-a-pickle':
    pickle.loads(pickle.dumps(pathlib.Path))
  elif name in ('takes-memory', 'asks-for-memory'):
    np.ones(600_000_000 if name == 'takes-memory' else 3_000_000_000, np.int8)
  elif name == 'goes-on':
    while True:
      time.monotonic()
  elif name == 'waits':
    time.sleep(300)
  elif name == 'crashes':
    os.kill(os.getpid(), signal.SIGSEGV)
  elif name == 'raises':
    raise KeyError(name)
  elif name == 'says-nothing':
    raise DataError('')


_DONE = ('starts-a-program', 'runs-a-command', 'writes-elsewhere', 'removes-elsewhere', 'runs-code',
         'loads-a-pickle', 'takes-memory', 'asks-for-memory', 'goes-on', 'waits', 'crashes',
         'raises', 'says-nothing')  # fmt: skip
HABITS = Target(
  'habits', lambda folder, draw: _put(folder), _behave, (DataError,),
  {name: functools.partial(_put, name=name) for name in _DONE},
)  # fmt: skip
"""A reader of bad habits, by which the worker is tried."""

TARGETS: dict[str, Target] = {target.name: target for target in _all()}
