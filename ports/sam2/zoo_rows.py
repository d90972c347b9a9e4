"""SAM 2's rows of the zoo: every published size of SAM 2 and SAM 2.1."""

from __future__ import annotations

from ports.model import Model, Params, States
from ports.weights.sources import Download

__all__ = ['MODELS']

# `segmenter.MASK_CHOICES` and the like, which importing a row must not import.
_OPTIONS = {
  'mask_choice': ('single', 'best_of_three', 'advised'),
  'feedback': ('always', 'forget_at_negative_second'),
  'precision': ('float32', 'bfloat16'),
}
_PARITY = {
  'tiny': (
    'against PyTorch (goldens at 256 and 1024 pixels), of the largest value: image embedding '
    '1.7e-6, logits 3.9e-6, predicted IoU 1.4e-7, click gradients 6.6e-6; three clicks of the '
    'released predictor, resizing included: 1.9e-6'
  ),
  'base_plus': (
    'against PyTorch (goldens at 256 pixels), of the largest value: image embedding 1.2e-6, logits '
    '1.4e-6, predicted IoU 2.9e-7, click gradients 7.1e-6'
  ),
}
# The parts are the same in all sizes; these two have no goldens of their own.
_PARITY['small'] = 'parameters by name and shape; values: as sam2.1_hiera_tiny, of the same parts'
_PARITY['large'] = _PARITY['small']

# The published entries include those that only videos need, which are not converted.
_PARAMETERS = {
  'tiny': 31_440_977,
  'small': 38_538_833,
  'base_plus': 73_328_657,
  'large': 216_925_121,
}


# J&F on the test split of SA-V, as the authors' repository has it.
_VIDEO = {
  'sam2': {'tiny': '75.0', 'small': '74.9', 'base_plus': '74.7', 'large': '76.0'},
  'sam2.1': {'tiny': '76.5', 'small': '76.6', 'base_plus': '78.2', 'large': '79.5'},
}


def _sam2(version: str, size: str, num_bytes: int, sha256: str) -> Model:
  """A size of SAM 2 ("sam2") or SAM 2.1 ("sam2.1")."""
  name = f'{version}_hiera_{size}'
  file = f'{name}.pt'
  released = {'sam2': '072824', 'sam2.1': '092824'}[version]

  def convert(states: States) -> Params:
    from ports.sam2 import hiera, weights

    return weights.tree(states[file], hiera.CONFIGS[size], version=version)

  return Model(
    original=Download(
      file=file,
      size=num_bytes,
      sha256=sha256,
      url=f'https://dl.fbaipublicfiles.com/segment_anything_2/{released}/{file}',
      licence='Apache-2.0',
    ),
    convert=convert,
    build='ports.sam2.segmenter:sam2',
    num_parameters=_PARAMETERS[size],
    paper='Ravi et al., "SAM 2: Segment Anything in Images and Videos" (arXiv 2408.00714)',
    parity=_PARITY[size],
    published=(
      f'clicks on pictures: none that we know; videos, SA-V test: J&F {_VIDEO[version][size]}'
    ),
    reproduced='not measured: the weights could not be had',
    settings={'name': name, 'size': size},
    options=_OPTIONS,
  )


# Sums and sizes as several independent projects have pinned them; the authors list none.
MODELS = {
  f'{version}_hiera_{size}': _sam2(version, size, num_bytes, sha256)
  for version, size, num_bytes, sha256 in (
    (
      'sam2', 'tiny', 155_906_050,
      '65b50056e05bcb13694174f51bb6da89c894b57b75ccdf0ba6352c597c5d1125',
    ),
    (
      'sam2', 'small', 184_309_650,
      '95949964d4e548409021d47b22712d5f1abf2564cc0c3c765ba599a24ac7dce3',
    ),
    (
      'sam2', 'base_plus', 323_493_298,
      'd0bb7f236400a49669ffdd1be617959a8b1d1065081789d7bbff88eded3a8071',
    ),
    (
      'sam2', 'large', 897_952_466,
      '7442e4e9b732a508f80e141e7c2913437a3610ee0c77381a66658c3a445df87b',
    ),
    (
      'sam2.1', 'tiny', 156_008_466,
      '7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69',
    ),
    (
      'sam2.1', 'small', 184_416_285,
      '6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38',
    ),
    (
      'sam2.1', 'base_plus', 323_606_802,
      'a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5',
    ),
    (
      'sam2.1', 'large', 898_083_611,
      '2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318',
    ),
  )
}
