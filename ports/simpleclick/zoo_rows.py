"""SimpleClick's rows of the zoo: every published size and training set."""

from __future__ import annotations

from ports.model import Model, Params, States
from ports.weights.sources import Download

__all__ = ['MODELS']

_PARITY = {
  size: f'logits against PyTorch{where}: {logits} of the largest value, click-map gradient '
  f'{gradient} in relative L2'
  for size, where, logits, gradient in (
    ('vit_xt', "'s goldens", '6.3e-6', '8.1e-5'),
    ('vit_b', "'s goldens", '2.7e-6', '2.3e-5'),
    ('vit_l', ' on made-up weights at 224 x 224', '2.9e-6', '4.9e-5'),
    ('vit_h', ' on made-up weights at 224 x 224', '2.4e-6', '3.0e-5'),
  )
}


def _simpleclick(name: str, file: str, size: str, num_parameters: int, noc: str) -> Model:
  """A size of SimpleClick and a training set of it; `noc`: as its authors report."""

  def convert(states: States) -> Params:
    from ports.simpleclick import network, weights

    return weights.tree(states[file], network.CONFIGS[size])

  return Model(
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
    parity=_PARITY[size],
    published=f'NoC: {noc}',
    reproduced='not measured: the weights could not be had',
    settings={'name': name, 'size': size},
    options={
      'zoom': ('fixed', 'fixed_672'),
      'disks': ('soft', 'hard'),
      'cascade': ('none', 'cf4', 'acf4'),
    },
  )


MODELS = {
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
