"""A plugin for sweeps whose workers are other processes: a model of `toy`, and what disturbs it.

SWEEP_SECONDS: what a batch takes beside its computation, in seconds and no processor's.
SWEEP_BAD: the name of an instance that raises; SWEEP_BAD_ONCE: a file, and it raises until that is
there, which it then makes.
"""

from __future__ import annotations

import os
import pathlib
import time

import toy

from experiments.lib import attack_job
from ports import zoo


def _build(params, sha256, *, name):
  del params, sha256
  return toy.segmenter(name)


for _name in ('toy', 'toy_two'):
  zoo.register(
    _name, zoo.Model(build=_build, num_parameters=1, paper='nobody', settings={'name': _name})
  )

_measure = attack_job.AttackJob.measure


def _disturbed(self, given, say):
  time.sleep(float(os.environ.get('SWEEP_SECONDS', '0')))
  names = [sample.instance for _, sample in given.fresh.samples]
  once = os.environ.get('SWEEP_BAD_ONCE')
  if os.environ.get('SWEEP_BAD') in names:
    if once is None:
      raise ValueError('it is bad')
    if not os.path.exists(once):
      pathlib.Path(once).touch()
      raise ValueError('it is bad this once')
  return _measure(self, given, say)


attack_job.AttackJob.measure = _disturbed
