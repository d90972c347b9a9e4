"""CFR-ICL's row of the zoo: the one published checkpoint."""

from __future__ import annotations

from ports.model import Model, Params, States
from ports.weights.sources import Download

__all__ = ['MODELS']

_NAME, _FILE = 'cfr_vit_h_cl', 'cocolvis_icl_vit_huge.pth'
_PARAMETERS = 660_713_201


def _convert(states: States) -> Params:
  from ports.simpleclick import network, weights

  return weights.tree(states[_FILE], network.CONFIGS['vit_h'])


MODELS = {
  _NAME: Model(
    original=Download(
      file=_FILE,
      size=4 * _PARAMETERS,
      sha256=None,
      url=(
        'https://github.com/TitorX/CFR-ICL-Interactive-Segmentation/releases/download/v1.0/'
        'cocolvis_icl_vit_huge.pth.7z.001 (with .002 and .003; unpack them)'
      ),
      licence='CC-BY-NC-4.0',
    ),
    convert=_convert,
    build='ports.cfr.segmenter:cfr',
    num_parameters=_PARAMETERS,
    paper='Sun et al., "CFR-ICL" (arXiv 2303.05620)',
    parity="network as simpleclick_vit_h_cl; sessions in a cascade against PyTorch's goldens",
    published='NoC, with one further pass: Berkeley 1.46@90, DAVIS 4.24@90',
    reproduced='not measured: the weights could not be had',
    settings={'name': _NAME, 'size': 'vit_h'},
    options={
      'zoom': ('fixed', 'fixed_672'),
      'disks': ('soft', 'hard'),
      'cascade': ('acf4', 'cf4', 'none'),
    },
  )
}
