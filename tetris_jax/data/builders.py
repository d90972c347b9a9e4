"""TFDS builders of the field's data sets, from folders on disk, without TensorFlow.

  builders.prepare('grabcut', 'GrabCut', 'prepared')

An example is a picture: "image" (height, width, 3), "segmentation" (height, width, 1) uint8 with 0
background, 255 ignored and else the position of the object's name in "instances", counted from 1,
and "stem". Pixels are kept without loss, and `tensorflow_datasets.builder_from_directory(...)
.as_data_source()` hands them out. The `tfds` command itself needs TensorFlow; `prepare`, also as
`python -m experiments.prepare`, does not.
"""

from __future__ import annotations

import itertools
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from tetris_jax.data.benchmarks import BENCHMARKS, read_benchmark
from tetris_jax.data.dataset import DataError, Dataset
from tetris_jax.data.index import Indexing
from tetris_jax.data.sample import Rejected, Sample
from tetris_jax.data.tfds_source import encode_png

__all__ = [
  'BUILDERS',
  'InteractiveBerkeley',
  'InteractiveCocoMval',
  'InteractiveDavis',
  'InteractiveGrabcut',
  'InteractiveSbd',
  'InteractiveTetris',
  'prepare',
]

_IGNORED = 255


class _Builder:
  """What the builders share.

  Attributes:
    benchmark: the data set's name in `BENCHMARKS`.
    indexing: with what help it is listed.
  """

  VERSION = tfds.core.Version('1.0.0')
  # TFDS 4.9.10 looks for the file itself by a package that it does not require.
  code_path = epath.Path(__file__)
  benchmark: str
  indexing: Indexing | None = None

  def _info(self) -> tfds.core.DatasetInfo:
    about = BENCHMARKS[self.benchmark]
    features = {
      'image': tfds.features.Image(shape=(None, None, 3), encoding_format='png'),
      'segmentation': tfds.features.Image(shape=(None, None, 1), encoding_format='png'),
      'instances': tfds.features.Sequence(tfds.features.Text()),
      'stem': tfds.features.Text(),
    }
    return tfds.core.DatasetInfo(
      builder=self,
      description=f'{about.title}, for interactive segmentation.',
      features=tfds.features.FeaturesDict(features),
      homepage=about.page,
      citation=about.citation,
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
    manual = str(dl_manager.manual_dir)
    dataset = read_benchmark(self.benchmark, manual, indexing=self.indexing)
    return {'test': self._generate_examples(dataset)}

  def _generate_examples(self, dataset: Dataset) -> Iterator[tuple[int, dict[str, Any]]]:
    # Only numbered objects share one mask; others may each ignore pixels of their own.
    stem = _stem if self.benchmark in ('sbd', 'tetris') else str
    grouped = itertools.groupby(range(len(dataset)), lambda index: stem(dataset.names[index]))
    for position, (name, indices) in enumerate(grouped):
      yield position, _example(dataset, name, indices)


def _stem(instance: str) -> str:
  stem, mark, number = instance.rpartition('#')
  return stem if mark and number.isdecimal() else instance


def _example(dataset: Dataset, stem: str, indices: Iterator[int]) -> dict[str, Any]:
  """One picture with its objects; raises DataError where one of them cannot be read."""
  names: list[str] = []
  image, segmentation = None, None
  for index in indices:
    sample = dataset[index]
    if isinstance(sample, Rejected):
      raise DataError(
        f'{sample.instance}: {sample.reason}; a data set is prepared whole, mend or remove it'
      )
    if image is None or segmentation is None:
      image, segmentation = sample.image, _start(sample)
    names.append(sample.instance)
    if len(names) >= _IGNORED:
      raise DataError(f'{stem} has more than {_IGNORED - 1} objects')
    segmentation[sample.mask] = len(names)
  assert image is not None and segmentation is not None
  return {
    'image': encode_png(image),
    'segmentation': encode_png(segmentation),
    'instances': names,
    'stem': stem,
  }


def _start(sample: Sample) -> np.ndarray:
  segmentation = np.zeros(sample.size, np.uint8)
  segmentation[sample.ignore] = _IGNORED
  return segmentation


def _instructions(name: str) -> str:
  about = BENCHMARKS[name]
  return f'manual_dir is the folder of the data set: {about.layout}; {about.download}.'


class InteractiveGrabcut(_Builder, tfds.core.GeneratorBasedBuilder):
  """GrabCut."""

  benchmark = 'grabcut'
  MANUAL_DOWNLOAD_INSTRUCTIONS = _instructions('grabcut')


class InteractiveBerkeley(_Builder, tfds.core.GeneratorBasedBuilder):
  """Berkeley."""

  benchmark = 'berkeley'
  MANUAL_DOWNLOAD_INSTRUCTIONS = _instructions('berkeley')


class InteractiveDavis(_Builder, tfds.core.GeneratorBasedBuilder):
  """DAVIS, the 345 frames of RITM's evaluation."""

  benchmark = 'davis'
  MANUAL_DOWNLOAD_INSTRUCTIONS = _instructions('davis')


class InteractiveCocoMval(_Builder, tfds.core.GeneratorBasedBuilder):
  """COCO-MVal."""

  benchmark = 'coco_mval'
  MANUAL_DOWNLOAD_INSTRUCTIONS = _instructions('coco_mval')


class InteractiveSbd(_Builder, tfds.core.GeneratorBasedBuilder):
  """SBD's validation objects."""

  benchmark = 'sbd'
  MANUAL_DOWNLOAD_INSTRUCTIONS = _instructions('sbd')


class InteractiveTetris(_Builder, tfds.core.GeneratorBasedBuilder):
  """TETRIS, its longer sides cut to 2048 pixels."""

  benchmark = 'tetris'
  MANUAL_DOWNLOAD_INSTRUCTIONS = _instructions('tetris')


BUILDERS = {
  builder.benchmark: builder
  for builder in (
    InteractiveBerkeley,
    InteractiveCocoMval,
    InteractiveDavis,
    InteractiveGrabcut,
    InteractiveSbd,
    InteractiveTetris,
  )
}


def prepare(
  name: str,
  data_dir: str | os.PathLike[str] | None,
  out: str | os.PathLike[str],
  *,
  indexing: Indexing | None = None,
) -> pathlib.Path:
  """Writes a data set's prepared form and returns its folder; one that is there is left alone.

  Args:
    name: a key of `BUILDERS`.
    data_dir: the data set as it was downloaded.
    out: folder below which it goes, `<out>/interactive_<name>/1.0.0`.
    indexing: with what help the data set is listed.

  Raises:
    DataError: unknown name, an unusable `data_dir`, or an instance that cannot be read.
  """
  if name not in BUILDERS:
    raise DataError(f'dataset={name} has no builder; known: {", ".join(sorted(BUILDERS))}')
  # Says what is missing before anything is written.
  read_benchmark(name, data_dir, indexing=Indexing(limit=1))
  builder = BUILDERS[name](data_dir=os.fspath(out), file_format='array_record')
  builder.indexing = indexing
  manual = pathlib.Path(str(data_dir)).expanduser().resolve()
  builder.download_and_prepare(
    download_config=tfds.download.DownloadConfig(manual_dir=str(manual))
  )
  return pathlib.Path(str(builder.data_dir))
