"""A batch divided over devices gives what one device gives."""

import os
import subprocess
import sys

import attack_test
import compiling
import jax
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import tetris_jax
from tetris_jax import Local, Wide, mesh, presets


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
    # Loops count once, however often they run, so not all of it shrinks.
    assert each < 1.3 * flops / count, (kind, count, checked, each, flops)
    assert not any(name in text for name in ('all-gather', 'all-reduce', 'all-to-all', 'permute'))
    assert len({{shard.device for shard in found.iou.addressable_shards}}) == count
    np.testing.assert_allclose(found.clicks.yx, alone.clicks.yx, atol=1e-3)
    np.testing.assert_allclose(found.iou, alone.iou, rtol=1e-6)
    print(kind, count, checked, each / flops)
"""


@pytest.mark.slow
def test_each_of_eight_devices_works_on_its_own_instances():
  flags = f'--xla_force_host_platform_device_count=8 {compiling.UNOPTIMISED}'
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
