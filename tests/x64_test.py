"""The kernel where JAX was told to default to 64 bits: the same programs, so the same rows."""

import json
import os
import pathlib
import subprocess
import sys

import compiling
import jax
import jax.extend.core
import jax.numpy as jnp
import landscapes
import numpy as np
import pytest
import toy

import tetris_jax
from tetris_jax import presets, truth, types, users
from tetris_jax.geometry import distance, objectives, overlap, region, render, robot
from tetris_jax.search import seams

REPOSITORY = pathlib.Path(__file__).parent.parent
USERS = [users.BASE, *users.groups('distance')[:2], users.User('uniform')]


def attack(name, num_clicks=2, **changes):
  config = presets.get(name, num_clicks=num_clicks)
  config = presets.at_depth(config, changes.get('depth', 0.0))
  config = presets.with_beams(config, changes.get('num_beams', 1))
  return lambda batch: tetris_jax.attack(toy.segmenter(), batch, config)


def walk(batch):
  return users.walk(jax.random.key(0), toy.segmenter(), batch, USERS, 2)


def grid(batch):
  return truth.grid(toy.segmenter(), batch, np.int64([3]), 60)


def replay(batch):
  yx = np.float64([[[[9.0, 10.0], [20.5, 3.0]]]])
  return tetris_jax.replay(toy.segmenter(), batch, types.Clicks(yx, np.int64([[[1, 0]]])))


PROGRAMS = {
  'baseline': attack('baseline'),
  'tetris': attack('tetris'),
  'strong_v1_16': attack('strong_v1_16'),
  'beams': attack('strong_v1_16', num_beams=2),
  'depth': attack('strong_v1_16', depth=0.1),
  'walk': walk,
  'grid': grid,
  'replay': replay,
}


def equations(jaxpr):
  for equation in jaxpr.eqns:
    yield equation
    for inner in jax.tree.leaves(
      list(equation.params.values()),
      is_leaf=lambda x: isinstance(x, jax.extend.core.Jaxpr | jax.extend.core.ClosedJaxpr),
    ):
      if isinstance(inner, jax.extend.core.ClosedJaxpr):
        inner = inner.jaxpr
      if isinstance(inner, jax.extend.core.Jaxpr):
        yield from equations(inner)


def wide(function, *args):
  """What a program under 64 bits holds of 64 bits, Python's own numbers aside."""
  with jax.enable_x64(True):
    traced = jax.make_jaxpr(function)(*args)
  return [
    f'{equation.primitive}: {variable.aval}'
    for equation in equations(traced.jaxpr)
    for variable in equation.outvars
    if getattr(variable.aval, 'dtype', np.dtype('V')).itemsize == 8
    and jnp.issubdtype(variable.aval.dtype, jnp.number)
    and not variable.aval.weak_type
  ]


def alike(function, *args):
  """Whether 64 bits leave a result as it is, to the last bit."""
  narrow = jax.device_get(jax.jit(function)(*args))
  with jax.enable_x64(True):
    found = jax.device_get(jax.jit(function)(*args))
  for one, other in zip(jax.tree.leaves(narrow), jax.tree.leaves(found), strict=True):
    assert one.dtype == other.dtype
    np.testing.assert_array_equal(one, other)


def test_the_walk_through_programs_finds_what_is_wide():
  def careless(x):
    return jax.lax.map(lambda y: y + jnp.linspace(0, 1, 3).astype(jnp.float32), x), jnp.argmax(x)

  found = ' '.join(wide(careless, np.ones(2, np.float32)))
  assert 'float64' in found and 'int64' in found
  assert not wide(lambda x: jnp.where(x > 0, x + 1, 2.0), np.ones(2, np.float32))


@pytest.mark.slow
@pytest.mark.parametrize('name', PROGRAMS)
def test_no_program_holds_64_bits(name):
  assert not wide(PROGRAMS[name], landscapes.batch_of())


@pytest.mark.slow
@pytest.mark.parametrize('name', PROGRAMS)
def test_programs_find_the_same(name):
  alike(PROGRAMS[name], landscapes.batch_of())


def parts(mask, before, valid, clicks):
  """What a round is made of, without a model."""
  size, frame = np.int32([20, 26]), types.Frame(*np.float32([[0, 0], [20, 26], [40, 52]]))
  legal = region.legal_region(mask, before, valid, clicks.label[0])
  column = distance.column_distance(legal)
  place = lambda yx: region.location_loss(yx, column, frame, 5.0, jnp.any(legal))
  soft = lambda yx: jnp.sum(render.soft_disks(clicks._replace(yx=yx), 20, 26, 5.0) ** 2)
  logits = jnp.where(before, jnp.float32(1.5), jnp.float32(-0.5))
  return (
    robot.next_click(mask, before, valid, clicks, size),
    overlap.boundary_iou(before, mask, valid, size),
    region.inner_depth(legal),
    region.first_pixels(legal, 9),
    jax.value_and_grad(place)(clicks.yx[0]),
    jax.value_and_grad(soft)(clicks.yx),
    render.hard_disks(clicks, 20, 26, 5.0),
    render.distance_maps(clicks, 20, 26),
    objectives.dice_loss(logits, mask, valid),
    seams.due(jnp.int32(3), 0.25),
    users.draw(users.mass_slice(logits + 1, 0.1, 0.6), np.float32([0.3, 0.7])),
  )


def of_parts():
  rng = np.random.default_rng(0)
  masks = rng.random((3, 20, 26)) < np.float32([0.5, 0.3, 0.9])[:, None, None]
  return *masks, types.Clicks(np.float32([[3.2, 4.7], [11, 20]]), np.int32([1, 0]))


def test_no_part_of_a_round_holds_64_bits():
  assert not wide(parts, *of_parts())


@pytest.mark.slow
def test_parts_take_wide_numbers():
  clicks = types.Clicks(np.float64([[3.2, 4.7]]), np.int64([1]))
  with jax.enable_x64(True):
    made = (
      render.soft_disks(clicks, 9, 9, 2.0),
      render.hard_disks(clicks, 9, 9, 2.0),
      objectives.dice_loss(np.ones((3, 3)), np.ones((3, 3), bool), np.ones((3, 3), bool)),
      region.within(clicks.yx, np.float32([[9, 9]])),
      users.draw(np.ones((3, 3)), np.float64([0.1, 0.9])),
    )
  assert {one.dtype for one in made} == {np.dtype(np.float32)}


@pytest.mark.slow
def test_the_parts_of_a_round_give_the_same():
  alike(parts, *of_parts())


def test_a_callers_wide_arrays_are_taken_and_wrong_kinds_refused():
  batch = landscapes.batch_of()
  with jax.enable_x64(True):
    given = types.Batch(
      batch.image.astype(np.float64), batch.mask, batch.ignore,
      batch.size.astype(np.int64), batch.id.astype(np.int64),
    )
    for one, other in zip(batch, given.checked(), strict=True):
      assert one.dtype == other.dtype
      np.testing.assert_array_equal(one, other)
    yx, label = types.Clicks(np.ones((3, 2)), np.ones(3, np.int64)).checked()
    assert (yx.dtype, label.dtype) == (np.float32, np.int32)
  config = presets.get('baseline', num_clicks=1)
  for field, dtype, words in (
    ('image', np.uint8, r'batch.image is uint8; expected float32 in \[0, 1\]: divide by 255'),
    ('mask', np.uint8, 'batch.mask is uint8; expected bool, such as mask > 0'),
    ('ignore', np.float32, 'batch.ignore is float32; expected bool, such as ignore > 0'),
    ('id', np.float32, 'batch.id is float32; expected uint32'),
  ):
    wrong = batch._replace(**{field: getattr(batch, field).astype(dtype)})
    with pytest.raises(TypeError, match=words):
      tetris_jax.attack(landscapes.needle(), wrong, config)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['baseline', 'tetris', 'strong_v1_16'])
def test_a_model_of_64_bits_is_judged_in_float32(name):
  batch = landscapes.batch_of()
  narrow = jax.device_get(jax.jit(attack(name))(batch))
  config = presets.get(name, num_clicks=2)
  with jax.enable_x64(True), jax.numpy_dtype_promotion('standard'):
    model = toy.segmenter().with_params({'radius': np.float64(15)})
    run = jax.jit(lambda model, batch: tetris_jax.attack(model, batch, config))
    found = jax.device_get(run(model, batch))
  for one, other in zip(jax.tree.leaves(narrow), jax.tree.leaves(found), strict=True):
    assert one.dtype == other.dtype
  np.testing.assert_allclose(found.iou[:, :, 0], narrow.iou[:, :, 0], atol=0.05)


@pytest.mark.slow
@pytest.mark.nightly
def test_a_run_of_the_program_writes_the_same_rows(tmp_path):
  toy.write_folder(tmp_path / 'd', ((40, 56), (48, 48)))
  code = 'import sys; from experiments.lib import opening; import toy; opening.zoo = toy; '
  code += 'from experiments import attack; '
  code += 'sys.exit(attack.execute(attack.Settings(model="toy", dataset="folder", num_clicks=2, '
  code += 'users=4, preset=sys.argv[1], data_dir=sys.argv[2], workdir=sys.argv[3])))'
  for preset in ('tetris', 'strong_v1_16'):
    rows = {}
    for x64 in '01':
      workdir = tmp_path / (preset + x64)
      subprocess.run(
        [sys.executable, '-c', code, preset, str(tmp_path / 'd'), str(workdir)],
        check=True,
        cwd=REPOSITORY,
        env={
          **os.environ, 'JAX_ENABLE_X64': x64, 'TETRIS_CACHE': str(tmp_path / 'cache'),
          # XLA's earlier fusions round otherwise with 64 bits.
          'XLA_FLAGS': f'--xla_force_host_platform_device_count=2 {compiling.UNOPTIMISED}',
          'PYTHONPATH': os.pathsep.join((str(REPOSITORY), str(REPOSITORY / 'tests'))),
        },
      )
      rows[x64] = (workdir / 'rows.jsonl').read_bytes()
    assert [json.loads(line)['status'] for line in rows['1'].splitlines()] == ['ok', 'ok']
    assert rows['0'] == rows['1']
