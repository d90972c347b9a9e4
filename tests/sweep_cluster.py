"""A sweep on a cluster of three nodes on this machine, disturbed on purpose; run as a program.

  python tests/sweep_cluster.py FOLDER

In FOLDER/w lies the sweep of `sweep_models` on FOLDER/d. While it runs, a node is removed by force,
then the driver is killed; it is started again, and while it runs a node is added. What happened is
told on standard output, a line each.
"""

import os
import pathlib
import signal
import subprocess
import sys
import time

TESTS = pathlib.Path(__file__).parent


def start(folder, address=None, *more):
  """A driver."""
  command = [
    sys.executable, '-m', 'experiments.sweep', '--plugins=sweep_models', '--models=toy,toy_two',
    f'--datasets=folder={folder / "d"}', '--presets=tetris', '--num_clicks=2', '--users=4',
    f'--workdir={folder / "w"}', '--worker_cpus=1', '--pictures=2', *more,
  ]  # fmt: skip
  command += [f'--address={address}'] if address else []
  return subprocess.Popen(command, cwd=TESTS.parent, stderr=subprocess.PIPE, text=True)


def shards(folder):
  """How many batches are finished."""
  return len([*folder.glob('w/*/results/*.jsonl')])


def until(folder, count, driver):
  """Waits for so many finished batches."""
  end = time.monotonic() + 600
  while shards(folder) < count:
    assert driver.poll() is None, driver.stderr.read()
    assert time.monotonic() < end, 'it takes too long'
    time.sleep(0.02)


def disturbed(folder):
  """Runs the sweep with all that may come between."""
  from ray.cluster_utils import Cluster

  cluster = Cluster()
  args = {'num_cpus': 1, 'object_store_memory': 80 * 2**20, 'include_dashboard': False}
  cluster.add_node(num_cpus=0, object_store_memory=80 * 2**20, include_dashboard=False)
  node = cluster.add_node(**args)
  cluster.add_node(**args)
  driver = start(folder, cluster.address)
  until(folder, 2, driver)
  cluster.remove_node(node, allow_graceful=False)
  print('removed at', shards(folder), flush=True)
  until(folder, 5, driver)
  driver.send_signal(signal.SIGKILL)
  driver.wait()
  print('killed at', shards(folder), flush=True)
  driver = start(folder, cluster.address)
  until(folder, 7, driver)
  cluster.add_node(**args)
  print('added at', shards(folder), flush=True)
  _, said = driver.communicate(timeout=600)
  print(said, flush=True)
  print('ended with', driver.returncode, flush=True)
  cluster.shutdown()


if __name__ == '__main__':
  os.environ['RAY_USAGE_STATS_ENABLED'] = '0'
  disturbed(pathlib.Path(sys.argv[1]))
