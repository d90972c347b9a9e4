"""RITM's rows of the zoo: every published size and training set."""

from __future__ import annotations

from ports.model import Model, Params, States
from ports.weights.sources import Download

__all__ = ['MODELS']

_OPTIONS = {
  'zoom': ('exact', 'exact_600', 'fixed', 'fixed_600'),
  'disks': ('soft', 'hard'),
  'cascade': ('none', 'cf4', 'acf4'),
}


def _ritm(
  name: str, file: str, megabytes: float, size: str, num_parameters: int, parity: str, noc: str
) -> Model:
  """A size of RITM and a training set of it; `noc`: as its authors report."""

  def convert(states: States) -> Params:
    from ports.hrnet import weights
    from ports.ritm.segmenter import VARIANTS

    return weights.tree(states[file], VARIANTS[size])

  return Model(
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
    options=_OPTIONS,
  )


_ROWS = (
  _ritm(
    'ritm_h18s_it_cl',
    'coco_lvis_h18s_itermask.pth',
    16.5,
    'h18s',
    4_196_892,
    '4.5e-6 of the largest value, click-map gradient 2.4e-4 in relative L2',
    'GrabCut 1.54@85 1.68@90, Berkeley 2.60@90, SBD 4.04@85 6.48@90, DAVIS 4.70@85 5.98@90, '
    'COCO-MVal 3.33@90',
  ),
  _ritm(
    'ritm_h18_it_cl',
    'coco_lvis_h18_itermask.pth',
    38.8,
    'h18',
    9_988_846,
    '1.2e-5 of the largest value, click-map gradient 7.4e-6 in relative L2',
    'GrabCut 1.42@85 1.54@90, Berkeley 2.26@90, SBD 3.80@85 6.06@90, DAVIS 4.36@85 5.74@90, '
    'COCO-MVal 2.98@90',
  ),
  _ritm(
    'ritm_h18_cl',
    'coco_lvis_h18_baseline.pth',
    38.8,
    'h18_baseline',
    9_988_830,
    '9.8e-6 of the largest value, click-map gradient 4.8e-6 in relative L2',
    'GrabCut 1.54@85 1.70@90, Berkeley 2.48@90, SBD 4.26@85 6.86@90, DAVIS 4.79@85 6.00@90, '
    'COCO-MVal 3.58@90',
  ),
  _ritm(
    'ritm_h32_it_cl',
    'coco_lvis_h32_itermask.pth',
    119,
    'h32',
    30_821_250,
    '1.8e-5 of the largest value, click-map gradient 5.9e-3 in relative L2',
    'GrabCut 1.46@85 1.56@90, Berkeley 2.10@90, SBD 3.59@85 5.71@90, DAVIS 4.11@85 5.34@90, '
    'COCO-MVal 2.97@90',
  ),
  _ritm(
    'ritm_h18_it_sbd',
    'sbd_h18_itermask.pth',
    38.8,
    'h18',
    9_988_846,
    'as ritm_h18_it_cl',
    'GrabCut 1.76@85 2.04@90, Berkeley 3.22@90, SBD 3.39@85 5.43@90, DAVIS 4.94@85 6.71@90, '
    'COCO-MVal 4.39@90',
  ),
)

MODELS = {model.settings['name']: model for model in _ROWS}
