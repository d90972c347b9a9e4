"""GPCIS's row of the zoo."""

from __future__ import annotations

from ports.model import Model, Params, States
from ports.weights.sources import Download

__all__ = ['MODELS']

_NAME = 'gpcis_resnet50_sbd'
_FILE = 'GPCIS_Resnet50.pth'


def _convert(states: States) -> Params:
  from ports.gpcis import network, weights

  return weights.tree(states[_FILE], network.CONFIGS['resnet50'])


MODELS = {
  _NAME: Model(
    original=Download(
      file=_FILE,
      size=157_934_784,
      sha256='1b59a4c8b7f1ea300abe8add185f8ab98beeeac01bd80bb2a2d029200195c3c9',
      url=(
        'https://github.com/zmhhmz/GPCIS_CVPR2023/raw/6460415a2e784f5623a0c859971f884a89eb0fd0/'
        f'checkpoints/{_FILE}'
      ),
      licence='MIT',
    ),
    convert=_convert,
    build='ports.gpcis.segmenter:gpcis',
    num_parameters=39_360_674,
    paper='Zhou et al., "Interactive Segmentation as Gaussian Process Classification" (CVPR 2023)',
    parity=(
      'logits against the PyTorch goldens: 5.8e-6 of the largest value, click-map gradient 1.1e-3 '
      'in relative L2'
    ),
    published='NoC: in the tables of the paper',
    reproduced='not measured: the weights could not be had',
    settings={'name': _NAME, 'size': 'resnet50'},
    options={'zoom': ('fixed', 'fixed_256'), 'disks': ('soft', 'hard')},
  ),
}
