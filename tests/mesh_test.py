"""The same rows whatever the number of devices, and none lost where they do not divide evenly."""

import os
import socket
import subprocess
import sys

import attack_test
import jax
import numpy as np
import pytest
import toy
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import tetris_jax
from experiments.lib import settings
from tetris_jax import Local, Wide, mesh, presets
from tetris_jax.runs import workdirs as results


@pytest.mark.slow
def test_two_devices_find_what_one_finds():
  model, batch = attack_test.wall(14.0), attack_test.batch_of(count=4)
  batch = batch._replace(mask=batch.mask.copy())
  for row in range(4):
    batch.mask[row, :, 16 + row :] = False
  config = presets.get('tetris', num_clicks=2)

  def found_by(params, batch, key):
    return tetris_jax.attack(model.with_params(params), batch, config)

  devices = jax.local_devices()
  assert len(devices) == 2
  params = mesh.replicate(dict(model.params), devices)
  found = jax.jit(mesh.over_devices(found_by, devices))(params, batch, jax.random.key(0))
  assert {s.device for s in found.iou.addressable_shards} == set(devices)
  alone = jax.jit(found_by)(model.params, batch, jax.random.key(0))
  for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(alone), strict=True):
    np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


DIVIDED = """
import sys
sys.path.insert(0, {tests!r})
import attack_test
import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
import tetris_jax
from tetris_jax import Local

model, batch = attack_test.wall(14.0), attack_test.batch_of(count=8)
whole, divided = PartitionSpec(), PartitionSpec('data')

def attack(model, batch):
  return tetris_jax.attack(
    model, batch, Local(num_steps=2), num_clicks=1, modes=('min',), at_once=100
  )

def compiled(function, *given):
  program = jax.jit(function).lower(*given).compile()
  return program.cost_analysis()['flops'], program.as_text(), program(*given)

flops, _, alone = compiled(attack, model, batch)
for kind in (AxisType.Auto, AxisType.Explicit):
  for count, checked in ((8, False), (8, True), (2, False)):
    mesh = jax.make_mesh((count,), ('data',), axis_types=(kind,), devices=jax.devices()[:count])
    lying = jax.device_put(batch, NamedSharding(mesh, divided))
    function = attack
    if kind == AxisType.Explicit and (checked or count < 8):
      continue
    if checked:
      function = jax.shard_map(attack, mesh=mesh, in_specs=(whole, divided), out_specs=divided)
    each, text, found = compiled(function, model, lying)
    assert each < 1.1 * flops / count, (kind, count, checked, each, flops)
    assert not any(name in text for name in ('all-gather', 'all-reduce', 'all-to-all', 'permute'))
    assert len({{shard.device for shard in found.iou.addressable_shards}}) == count
    np.testing.assert_allclose(found.clicks.yx, alone.clicks.yx, atol=1e-3)
    np.testing.assert_allclose(found.iou, alone.iou, rtol=1e-6)
    print(kind, count, checked, each / flops)
"""


@pytest.mark.slow
def test_each_of_eight_devices_works_on_its_own_instances():
  flags = '--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0'
  tests = os.path.dirname(__file__)
  done = subprocess.run(
    [sys.executable, '-c', DIVIDED.format(tests=tests)], capture_output=True, text=True,
    check=False, cwd=os.path.dirname(tests),
    env=os.environ | {'XLA_FLAGS': flags, 'JAX_PLATFORMS': 'cpu'},
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  assert len(done.stdout.splitlines()) == 4


def traced(function, kind, *given):
  """The jaxpr of a program whose batch lies on both devices."""
  axes = jax.make_mesh((2,), ('data',), axis_types=(kind,))
  lying = jax.device_put(attack_test.batch_of(count=4), NamedSharding(axes, PartitionSpec('data')))
  return str(jax.make_jaxpr(function)(lying, *given))


@pytest.mark.parametrize('search', [
  Local(num_steps=2), pytest.param(Wide(budget=9, pool_size=30), marks=pytest.mark.slow)
])
@pytest.mark.parametrize('kind', [AxisType.Auto, AxisType.Explicit])
def test_an_attack_is_traced_on_every_kind_of_mesh(kind, search):
  attack = lambda batch: tetris_jax.attack(attack_test.wall(14.0), batch, search, num_clicks=2)
  assert 'shard_map' in traced(attack, kind)
  axes, divided = jax.make_mesh((2,), ('data',), axis_types=(kind,)), PartitionSpec('data')
  checked = jax.shard_map(attack, mesh=axes, in_specs=divided, out_specs=divided)
  # The default checks know what varies; the attack divides nothing once more.
  assert traced(checked, kind).count('shard_map') == 1


def test_a_batch_that_does_not_divide_or_lies_on_no_mesh_stays_whole():
  plain = lambda shared, batch: jax.tree.map(lambda x: x + shared, batch)
  for count in (2, 3):
    axes = jax.make_mesh((2,), ('data',), axis_types=(AxisType.Auto,))
    lying = jax.device_put(np.ones((count, 2)), NamedSharding(axes, PartitionSpec()))
    text = str(jax.make_jaxpr(lambda x: mesh.over_instances(plain, np.float32(1), x))(lying))
    assert ('shard_map' in text) == (count == 2)
  text = str(jax.make_jaxpr(lambda x: mesh.over_instances(plain, 1.0, x))(np.ones((2, 2))))
  assert 'shard_map' not in text


def test_what_a_loop_starts_from_is_marked_where_the_data_vary():
  axes = jax.make_mesh((2,), ('data',), axis_types=(AxisType.Auto,))
  divided = PartitionSpec('data')

  def total(x):
    start = mesh.varying(np.float32(0), x)
    return jax.lax.scan(lambda sum, row: (sum + row, None), start, x)[0][None]

  found = jax.jit(jax.shard_map(total, mesh=axes, in_specs=divided, out_specs=divided))
  np.testing.assert_array_equal(found(np.float32([1, 2, 3, 4])), [3, 7])
  assert mesh.varying(1.0, np.ones(2)) == 1.0


RUN = """
import sys
sys.path.insert(0, {tests!r})
import toy
import jax
from experiments import attack
from experiments.lib import launch, opening
from experiments.lib.settings import Processes
opening.zoo = toy
jax.config.update('jax_platforms', 'cpu')
settings = attack.Settings(model='toy', dataset='folder', data_dir={data!r}, workdir={workdir!r},
                           num_clicks=2, batch_size=3, pictures=0, users=4)
print(jax.local_device_count())
sys.exit(attack.execute(settings))
"""


@pytest.mark.slow
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


JOINED = """
import sys
sys.path.insert(0, {tests!r})
import toy
import jax
from experiments import attack
from experiments.lib import launch, opening
from experiments.lib.settings import Processes
opening.zoo = toy
jax.config.update('jax_platforms', 'cpu')
launch.join(Processes(coordinator='localhost:{port}', num_processes=2, process_id={process}))
settings = attack.Settings(model='toy', dataset='folder', data_dir={data!r}, workdir={workdir!r},
                           num_clicks=2, batch_size=1, pictures=0, users=4)
print(settings.shard, jax.local_device_count(), jax.device_count())
sys.exit(attack.execute(settings))
"""


def free_port():
  with socket.socket() as one:
    one.bind(('localhost', 0))
    return one.getsockname()[1]


@pytest.mark.slow
def test_two_processes_write_the_rows_of_one(tmp_path):
  toy.write_folder(tmp_path / 'd', ((40, 56), (48, 48), (64, 40), (40, 60), (50, 50)))
  tests, port = os.path.dirname(__file__), free_port()
  flags = '--xla_force_host_platform_device_count=1'
  environment = os.environ | {'XLA_FLAGS': flags, 'TETRIS_CACHE': str(tmp_path / 'cache')}
  running = [
    subprocess.Popen(
      [sys.executable, '-c', JOINED.format(
        tests=tests, port=port, process=process, data=str(tmp_path / 'd'),
        workdir=str(tmp_path / 'together'),
      )],
      env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
      cwd=os.path.dirname(tests),
    )
    for process in range(2)
  ]
  for process, one in enumerate(running):
    said, complaint = one.communicate()
    assert one.returncode == 0, complaint
    assert said.startswith(f'({process}, 2) 1 2\n')
  alone = RUN.format(tests=tests, data=str(tmp_path / 'd'), workdir=str(tmp_path / 'alone'))
  subprocess.run(
    [sys.executable, '-c', alone.replace('batch_size=3', 'batch_size=1')], env=environment,
    capture_output=True, check=True, cwd=os.path.dirname(tests),
  )
  rows = {}
  for shard in (tmp_path / 'together').glob('shard-*'):
    rows |= {row['instance']: row for row in results.read_rows(shard / 'rows.jsonl')}
  wanted = results.read_rows(tmp_path / 'alone' / 'rows.jsonl')
  assert len(wanted) == 5 and [rows[row['instance']] for row in wanted] == wanted


@pytest.mark.parametrize(('asked', 'said'), [
  ((None, 2, None), 'need --coordinator'),
  (('auto', None, 1), 'need --coordinator'),
  (('localhost:1', 2, None), 'needs --num_processes and --process_id'),
  (('localhost:1', 2, 2), '--process_id=2 of --num_processes=2'),
])
def test_flags_of_processes_belong_together(asked, said):
  with pytest.raises(settings.UsageError, match=said):
    settings.Processes(coordinator=asked[0], num_processes=asked[1], process_id=asked[2])
