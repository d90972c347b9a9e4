"""AdaptiveClick's rows of the zoo: both released training sets of its ViT-B."""

from __future__ import annotations

from ports.model import Model, Params, States
from ports.weights.sources import Download

__all__ = ['MODELS']


def _adaptiveclick(name: str, file: str) -> Model:
  """A training set of AdaptiveClick."""

  def convert(states: States) -> Params:
    from ports.adaptiveclick import network, weights

    return weights.tree(states[file], network.CONFIGS['vit_b'])

  return Model(
    original=Download(
      file=file,
      size=490_172_848,
      sha256=None,
      url=(
        'https://drive.google.com/drive/folders/1Gj6o8S5nOeKZkfFrRGUxjMF_qFm4BV2S '
        '(linked by https://github.com/lab206/AdaptiveClick)'
      ),
      licence='MIT',
    ),
    convert=convert,
    build='ports.adaptiveclick.segmenter:adaptiveclick',
    num_parameters=121_114_242,
    paper='Lin et al., "AdaptiveClick" (arXiv 2305.04276)',
    parity=(
      'logits against the PyTorch goldens: 3.8e-6 of the largest value, click-map gradient 5.9e-4 '
      'in relative L2; every attention mask equal'
    ),
    published='NoC: in the tables of the paper',
    reproduced='not measured: the weights could not be had',
    settings={'name': name, 'size': 'vit_b'},
    options={'zoom': ('fixed', 'fixed_672'), 'disks': ('soft', 'hard')},
  )


MODELS = {
  f'adaptiveclick_vit_b_{trained}': _adaptiveclick(f'adaptiveclick_vit_b_{trained}', file)
  for trained, file in (
    ('cl', 'adaptiveclick_base448_cocolvis.pth'),
    ('sbd', 'adaptiveclick_base448_sbd.pth'),
  )
}
