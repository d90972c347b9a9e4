"""The same rows whatever the number of devices, and none lost where they do not divide evenly."""

import os
import subprocess
import sys

import attack_test
import jax
import numpy as np
import toy

import tetris_jax
from tetris_jax import mesh, presets


def test_two_devices_find_what_one_finds():
  model, batch = attack_test.wall(14.0), attack_test.batch_of(count=4)
  batch = batch._replace(mask=batch.mask.copy())
  for row in range(4):
    batch.mask[row, :, 16 + row :] = False
  config = presets.get('tetris', num_clicks=2)

  def attack(params, batch, key):
    return tetris_jax.attack(model._replace(params=params), batch, config, key)

  devices = jax.local_devices()
  assert len(devices) == 2
  params = mesh.replicate(dict(model.params), devices)
  found = jax.jit(mesh.over_devices(attack, devices))(params, batch, jax.random.key(0))
  assert {s.device for s in found.iou.addressable_shards} == set(devices)
  alone = jax.jit(attack)(model.params, batch, jax.random.key(0))
  for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(alone), strict=True):
    np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


RUN = """
import sys
sys.path.insert(0, {tests!r})
import toy
from experiments import attack
attack.zoo = toy
attack.jax.config.update('jax_platforms', 'cpu')
settings = attack.Settings(model='toy', dataset='folder', data_dir={data!r}, workdir={workdir!r},
                           num_clicks=2, batch_size=3, pictures=0)
print(attack.jax.local_device_count())
sys.exit(attack.execute(settings))
"""


def test_eight_devices_write_the_rows_of_one(tmp_path):
  toy.write_folder(tmp_path / 'd', ((40, 56), (48, 48), (64, 40), (40, 60), (50, 50)))
  written = []
  for count in (1, 8):
    flags = f'--xla_force_host_platform_device_count={count}'
    environment = os.environ | {'XLA_FLAGS': flags, 'TETRIS_CACHE': str(tmp_path / 'cache')}
    workdir = tmp_path / f'run{count}'
    tests = os.path.dirname(__file__)
    code = RUN.format(tests=tests, data=str(tmp_path / 'd'), workdir=str(workdir))
    done = subprocess.run(
      [sys.executable, '-c', code], env=environment, capture_output=True, text=True, check=True,
      cwd=os.path.dirname(tests),
    )
    assert done.stdout.startswith(f'{count}\n')
    written.append((workdir / 'rows.jsonl').read_bytes())
  assert written[0] == written[1] and written[0].count(b'"status": "ok"') == 5
