"""What driver and workers tell each other: light to import, and whole after a journey."""

import pickle
import subprocess
import sys

from experiments.sweeps.messages import About, Result, Task

LIGHT = """
import sys
import experiments.sweeps.messages
print(*sorted({'jax', 'numpy', 'ray'} & set(sys.modules)), len(sys.modules) < 300)
"""


def test_whoever_reads_them_needs_neither_jax_nor_a_model():
  done = subprocess.run([sys.executable, '-c', LIGHT], capture_output=True, text=True, check=True)
  assert done.stdout == 'True\n'


def test_they_travel():
  task = Task(3, {'model': 'toy', 'plugins': ('a',)}, 2, (128, 256), (4, 5))
  row, origin = {'instance': 'p4'}, {'canvas': [128, 256], 'files': [], 'content': ''}
  result = Result(task.asked, {}, {4: row}, {4: origin}, {'seconds': 1.0}, {'a.png': b'x'}, ('s',))
  for one in (task, result, About(2, 'cpu')):
    assert pickle.loads(pickle.dumps(one)) == one
  assert Task(0, {}).batch == -1 and result.error == ''
