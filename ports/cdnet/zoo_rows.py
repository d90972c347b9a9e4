"""CDNet's rows of the zoo: both published training sets."""

from __future__ import annotations

from ports.model import Model, Params, States
from ports.weights.sources import Download

__all__ = ['MODELS']


def _cdnet(name: str, file: str, folder: str, noc: str) -> Model:
  """A training set of CDNet; `noc`: as its authors report."""

  def convert(states: States) -> Params:
    from ports.cdnet import network, weights

    return weights.tree(states[file], network.CONFIGS['resnet34'])

  return Model(
    original=Download(
      file=file,
      size=94_080_000,
      sha256=None,
      url=(
        'https://drive.google.com/drive/folders/1XzUlpPqbzAyMt009HVpEeW31ln1FeXfX '
        f'({folder}; linked by https://github.com/XavierCHEN34/ClickSEG)'
      ),
      licence='MIT',
    ),
    convert=convert,
    build='ports.cdnet.segmenter:cdnet',
    num_parameters=23_456_406,
    paper='Chen et al., "Conditional Diffusion for Interactive Segmentation" (ICCV 2021)',
    parity=(
      'logits against the PyTorch goldens: 3.3e-6 of the largest value, pixel diffusion 5.2e-7, '
      'click-map gradient 7.9e-6 in relative L2'
    ),
    published=f'NoC: {noc}',
    reproduced='not measured: the weights could not be had',
    settings={'name': name, 'size': 'resnet34'},
    options={'zoom': ('fixed',), 'disks': ('soft', 'hard')},
  )


_ROWS = (
  _cdnet(
    'cdnet_resnet34_cl',
    'cclvs_last_checkpoint.pth',
    'COCO+LVIS',
    'GrabCut 1.40@85 1.52@90, Berkeley 1.47@85 2.06@90, PascalVOC 2.74@85 3.30@90, SBD 4.30@85 '
    '7.04@90, DAVIS 4.27@85 5.56@90, COCO-MVal 2.51@85 3.88@90',
  ),
  _cdnet(
    'cdnet_resnet34_sbd',
    'sbd_last_checkpoint.pth',
    'SBD',
    'GrabCut 1.86@85 2.18@90, Berkeley 1.95@85 3.27@90, PascalVOC 3.61@85 4.51@90, SBD 5.18@85 '
    '7.89@90, DAVIS 5.00@85 6.89@90, COCO-MVal 4.13@85 5.88@90',
  ),
)

MODELS = {model.settings['name']: model for model in _ROWS}
