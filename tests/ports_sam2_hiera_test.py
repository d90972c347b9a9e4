"""Parity of SAM 2's image encoder with PyTorch's numbers, and what is arranged otherwise there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sam2_golden
import sam_golden
from sam2_golden import TOY
from sam_golden import largest

from ports.nn.layers import Conv1x1
from ports.sam2 import hiera, network


def taps(config, params, image):
  """Inner tensors by the reference's names and in its order of axes."""
  encoder, decoder = hiera.bind(config, params), network.bind(params).mask_decoder
  found = {'trunk.patch_embed': encoder.trunk.patch_embed(image)}
  outputs = list(encoder.trunk.block_outputs(image))
  found |= {f'trunk.blocks.{i}': x for i, x in enumerate(outputs)}
  stages = [outputs[i] for i in config.ends]
  embedding, _ = network.encode(config, params, image)
  found |= {
    'high_res_0': encoder.neck.fine(stages, 0, decoder.conv_s0).transpose(2, 0, 1),
    'high_res_1': encoder.neck.fine(stages, 1, decoder.conv_s1).transpose(2, 0, 1),
    'image_embed': embedding.transpose(2, 0, 1),
  }
  return found


@pytest.mark.slow
@pytest.mark.parametrize(('case', 'variant'), sam2_golden.CASES)
def test_every_stage_equals_the_goldens(case, variant):
  golden = sam_golden.golden(case)
  config = hiera.CONFIGS[variant.split('_hiera_')[1]]
  evaluate = jax.jit(taps, static_argnums=0)
  found = evaluate(config, sam2_golden.params(variant), sam2_golden.picture(golden))
  names = sam_golden.taps(golden)
  assert len(names) == 9
  for name in names:
    sam_golden.check_tap(golden, name, found[name], 1e-5)


@pytest.mark.slow
def test_the_published_sizes():
  # Heads and windows: the first block of a stage still has the windows of the one before.
  windows = {}
  for size, config in hiera.CONFIGS.items():
    layout = list(hiera._layout(config))
    assert len(layout) == sum(config.stages) == config.ends[-1] + 1
    assert tuple(layout[end][1] for end in config.ends) == config.widths
    assert config.widths == tuple(config.width * 2**i for i in range(4))
    windows[size] = [(window, heads) for _, _, heads, window in layout]
  assert windows['tiny'] == [
    (8, 1), (8, 2), (4, 2), (4, 4), (14, 4), (0, 4), (14, 4), (0, 4), (14, 4), (0, 4), (14, 8),
    (7, 8),
  ]
  assert [i for i, (window, _) in enumerate(windows['large']) if window == 0] == [23, 33, 43]
  assert windows['large'][8] == (4, 8) and windows['large'][44] == (16, 16)
  assert windows['base_plus'][5] == (4, 8) and windows['base_plus'][-1] == (7, 16)


def test_windows_are_joined_as_they_were_split():
  x = np.random.default_rng(0).random((7, 11, 2), np.float32)
  windows = hiera._split(jnp.asarray(x), 4)
  assert windows.shape == (6, 4, 4, 2)
  np.testing.assert_array_equal(windows[0], x[:4, :4])
  np.testing.assert_array_equal(windows[-1, :3, :3], x[4:, 8:])
  assert not windows[-1, 3:].any() and not windows[-1, :, 3:].any()
  np.testing.assert_array_equal(hiera._join(windows, 7, 11), x)


def test_pooling_takes_the_largest_of_four():
  x = np.arange(24, dtype=np.float32).reshape(1, 4, 6, 1)
  np.testing.assert_array_equal(hiera._pool(jnp.asarray(x))[0, ..., 0], [[7, 9, 11], [19, 21, 23]])


@pytest.mark.slow
def test_a_few_queries_at_a_time_change_nothing(monkeypatch):
  params = sam2_golden.toy_params()
  image = np.random.default_rng(1).standard_normal((128, 96, 3)).astype(np.float32)
  run = lambda: jax.jit(lambda p, x: hiera.bind(TOY, p).trunk(x))(params, image)
  whole = run()
  assert [x.shape for x in whole] == [(32, 24, 8), (16, 12, 16), (8, 6, 32), (4, 3, 64)]
  monkeypatch.setattr(hiera, '_QUERIES', 12)
  for found, wanted in zip(run(), whole, strict=True):
    assert largest(found, np.asarray(wanted)) < 1e-6


def test_two_projections_are_one():
  params = sam2_golden.toy_params()
  neck = hiera.bind(TOY, params).neck
  then = network.bind(params).mask_decoder.conv_s1
  assert isinstance(then, Conv1x1)
  stages = [jnp.zeros(1), jnp.asarray(np.random.default_rng(2).random((4, 5, 16), np.float32))]
  wanted = np.asarray(then(neck.convs[2](stages[1])))
  assert largest(neck.fine(stages, 1, then), wanted) < 1e-5


def test_the_pyramid_adds_the_coarsest_level_to_one_level_alone():
  neck = hiera.bind(TOY, sam2_golden.toy_params()).neck
  rng = np.random.default_rng(3)
  third = jnp.asarray(rng.random((4, 6, 32), np.float32))
  fourth = jnp.asarray(rng.random((2, 3, 64), np.float32))
  found = np.asarray(neck.coarse([third, third, third, fourth]) - neck.convs[1](third))
  below = np.asarray(neck.convs[0](fourth))
  for i in range(2):
    for j in range(2):
      np.testing.assert_allclose(found[i::2, j::2], below, atol=1e-5)


def test_sizes_that_do_not_fit_are_refused():
  with pytest.raises(ValueError, match='windows even but for the last'):
    hiera.Config(8, 1, (1, 1, 2, 1), (3,), 3, (4, 2, 3, 2))
  with pytest.raises(ValueError, match='multiple of heads'):
    hiera.Config(9, 2, (1, 1, 2, 1), (3,), 3)
