"""FocalClick's rows of the zoo: every published size, scale and training set."""

from __future__ import annotations

from ports.model import Model, Params, States
from ports.weights.sources import Download

__all__ = ['MODELS']

# Of the coarse logits, the refined ones and the gradient of the coarse pass's maps.
_PARITY = {
  size: f"logits against PyTorch's goldens: coarse {coarse}, refined {refined} of the largest "
  f'value, click-map gradient {gradient} in relative L2'
  for size, coarse, refined, gradient in (
    ('hrnet18s_s1', '4.4e-6', '4.6e-6', '1.5e-6'),
    ('hrnet18s_s2', '6.7e-6', '4.5e-6', '1.4e-3'),
    ('segformer_b0_s1', '1.2e-6', '1.8e-6', '1.4e-6'),
    ('segformer_b0_s2', '1.1e-6', '1.6e-6', '1.3e-6'),
    ('segformer_b3_s2', '2.3e-6', '3.9e-6', '1.8e-6'),
  )
} | {'hrnet32_s2': 'as focalclick_hrnet18s_s2_cl; its parameters map, none left over'}


def _focalclick(
  name: str, file: str, megabytes: float, size: str, num_parameters: int, noc: str
) -> Model:
  """A size and scale of FocalClick and a training set of it; `noc`: as its authors report."""

  def convert(states: States) -> Params:
    from ports.focalclick import network, weights

    return weights.tree(states[file], network.VARIANTS[size])

  return Model(
    original=Download(
      file=file,
      size=int(megabytes * 2**20),
      sha256=None,
      url=(
        'https://drive.google.com/drive/folders/1XzUlpPqbzAyMt009HVpEeW31ln1FeXfX '
        '(linked by https://github.com/XavierCHEN34/ClickSEG)'
      ),
      licence='Apache-2.0 (its readme: MIT)',
    ),
    convert=convert,
    build='ports.focalclick.segmenter:focalclick',
    num_parameters=num_parameters,
    paper='Chen et al., "FocalClick" (arXiv 2204.02574)',
    parity=_PARITY[size],
    published=f'NoC: {noc}',
    reproduced='not measured: the weights could not be had',
    settings={'name': name, 'size': size},
    options={
      'disks': ('soft', 'hard'),
      'merge': ('never', 'always'),
      'cascade': ('none', 'cf4', 'acf4'),
    },
  )


MODELS = {
  f'focalclick_{size}_{trained}': _focalclick(
    f'focalclick_{size}_{trained}', file, megabytes, size, num_parameters, noc
  )
  for size, trained, file, megabytes, num_parameters, noc in (
    (
      'hrnet18s_s1', 'cl', 'hrnet18s_S1_cclvs.pth', 16.58, 4_207_838,
      'GrabCut 1.64@85 1.88@90, Berkeley 1.84@85 2.89@90, SBD 4.74@85 7.29@90, '
      'DAVIS 4.77@85 6.56@90, COCO-MVal 2.89@85 4.00@90',
    ),
    (
      'hrnet18s_s2', 'cl', 'hrnet18s_S2_cclvs.pth', 16.58, 4_207_838,
      'GrabCut 1.48@85 1.62@90, Berkeley 1.60@85 2.23@90, SBD 4.43@85 6.79@90, '
      'DAVIS 3.90@85 5.23@90, COCO-MVal 2.61@85 3.59@90',
    ),
    (
      'hrnet32_s2', 'cl', 'hrnet32_S2_cclvs.pth', 119.11, 30_837_316,
      'GrabCut 1.64@85 1.80@90, Berkeley 1.70@85 2.36@90, SBD 4.24@85 6.61@90, '
      'DAVIS 4.01@85 5.39@90, COCO-MVal 2.62@85 3.65@90',
    ),
    (
      'hrnet32_s2', 'comb', 'hrnet32_S2_comb.pth', 119.11, 30_837_316,
      'GrabCut 1.30@85 1.34@90, Berkeley 1.49@85 1.85@90, SBD 4.35@85 6.61@90, '
      'DAVIS 3.19@85 4.81@90, COCO-MVal 2.80@85 3.85@90',
    ),
    (
      'segformer_b0_s1', 'cl', 'segformerB0_S1_cclvs.pth', 14.38, 3_735_011,
      'GrabCut 1.60@85 1.86@90, Berkeley 2.05@85 3.29@90, SBD 4.98@85 7.60@90, '
      'DAVIS 5.13@85 7.42@90, COCO-MVal 3.08@85 4.21@90',
    ),
    (
      'segformer_b0_s2', 'cl', 'segformerB0_S2_cclvs.pth', 14.38, 3_735_011,
      'GrabCut 1.40@85 1.66@90, Berkeley 1.59@85 2.27@90, SBD 4.56@85 6.86@90, '
      'DAVIS 4.04@85 5.49@90, COCO-MVal 2.65@85 3.59@90',
    ),
    (
      'segformer_b3_s2', 'cl', 'segformerB3_S2_cclvs.pth', 174.56, 45_681_923,
      'GrabCut 1.44@85 1.50@90, Berkeley 1.55@85 1.92@90, SBD 3.53@85 5.59@90, '
      'DAVIS 3.61@85 4.90@90, COCO-MVal 2.32@85 3.12@90',
    ),
    (
      'segformer_b3_s2', 'comb', 'segformerB3_S2_comb.pth', 174.56, 45_681_923,
      'GrabCut 1.22@85 1.26@90, Berkeley 1.35@85 1.48@90, SBD 3.70@85 5.84@90, '
      'DAVIS 2.92@85 4.52@90, COCO-MVal 2.51@85 3.33@90',
    ),
  )
}
