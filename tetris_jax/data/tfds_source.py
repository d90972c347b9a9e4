"""Data sets that TensorFlow Datasets has prepared as array_record, read without TensorFlow.

Any set with a picture and a mask of object numbers, a binary mask or one mask an object will do;
which feature is which is told by a small mapping. What `tetris_jax.data.builders` has prepared
needs none.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tetris_jax.data import images, labels, pairs
from tetris_jax.data.dataset import DataError, Dataset, Entry
from tetris_jax.data.sample import Rejected, Sample

__all__ = ['Mapped', 'encode_png', 'read_tfds']

_LAYOUT = (
  'it must be the folder of a prepared version, with dataset_info.json and .array_record files'
)
_MASKS = ('segmentation_mask', 'segmentation', 'panoptic_image', 'mask', 'label')
_KINDS = ('ids', 'binary', 'masks')


@dataclasses.dataclass(frozen=True)
class Mapped:
  """Which features of a data set are what; a path such as "objects/mask" goes into a nested one.

  Attributes:
    image: (height, width, 1 or 3) uint8.
    mask: (height, width, 1) numbers, or 3 channels as one 24-bit number; for objects='masks'
      (num_objects, height, width[, 1]).
    objects: 'ids', every number above 0 an object; 'binary', all above 0 the object; or 'masks',
      one mask an object.
    name: a text or number that names the picture; '' for its position in the split.
    names: of prepared benchmarks: the texts that name objects 1, 2, ...; '' for `name#number`.
    object_id: the only number that is an object; None for all.
    ignore_id: the number of pixels that no metric counts; None for none.
  """

  image: str = 'image'
  mask: str = ''
  objects: str = 'ids'
  name: str = ''
  names: str = ''
  object_id: int | None = None
  ignore_id: int | None = None


def read_tfds(
  data_dir: str | os.PathLike[str] | None,
  *,
  split: str = '',
  image: str = 'image',
  mask: str = '',
  objects: str = 'ids',
  name: str = '',
  object_id: int | None = None,
  ignore_id: int | None = None,
) -> Dataset:
  """Lists the instances of a prepared data set, in its own order; pixels are read on access.

  Every mask is read once at the start to find the objects.

  Args:
    data_dir: folder of a prepared version.
    split: '' where there is only one.
    image: see `Mapped`, as the others.
    mask: '' for the first that is there of segmentation_mask, segmentation, panoptic_image, mask
      and label.
    objects: see `Mapped`.
    name: see `Mapped`; '' for "stem", "file_name" or "image/filename" where there is one.
    object_id: see `Mapped`.
    ignore_id: see `Mapped`.

  Raises:
    DataError: no prepared data set, another file format, or no such split or feature.
    ValueError: `objects` is unknown.
  """
  if objects not in _KINDS:
    raise ValueError(f'objects={objects!r}; expected one of {", ".join(_KINDS)}')
  root = pairs.find_root('tfds', data_dir, ('dataset_info.json',), _LAYOUT)
  import tensorflow_datasets as tfds

  builder = tfds.builder_from_directory(str(root))
  split = _split(builder, split, data_dir)
  available = _paths(builder.info.features)
  mapped = Mapped(image, mask, objects, name, '', object_id, ignore_id)
  if not mask and {'segmentation', 'instances', 'stem'} <= available.keys():
    mapped = Mapped(mask='segmentation', name='stem', names='instances', ignore_id=255)
  else:
    mapped = _completed(mapped, available, data_dir)
  try:
    source = builder.as_data_source(split, decoders=_left_encoded(builder.info.features, tfds))
  except (NotImplementedError, ValueError) as error:
    raise DataError(
      f'data_dir={data_dir} cannot be read record by record; prepare it with '
      f'file_format=array_record ({str(error).splitlines()[0]})'
    ) from error
  read = functools.lru_cache(maxsize=1)(functools.partial(_example, source, mapped, split))
  entries: list[Entry] = []
  for position in range(len(source)):
    entries += _entries(position, read, mapped)
  return Dataset(builder.name, entries)


def _split(builder: Any, split: str, data_dir: object) -> str:
  known = list(builder.info.splits)
  if not split and len(known) == 1:
    return str(known[0])
  if split not in known:
    found = f'has no split {split!r}' if split else 'has several splits'
    raise DataError(f'data_dir={data_dir} {found}; give split=one of {", ".join(known)}')
  return split


def _paths(features: Any, prefix: str = '') -> dict[str, Any]:
  """Features by path; those inside a sequence of dicts as well."""
  inner = getattr(features, 'feature', features)
  if not hasattr(inner, 'items'):
    return {prefix: features}
  out = {}
  for key, feature in inner.items():
    out.update(_paths(feature, f'{prefix}/{key}' if prefix else str(key)))
  return out


def _completed(mapped: Mapped, available: Mapping[str, Any], data_dir: object) -> Mapped:
  mask = mapped.mask or next((path for path in _MASKS if path in available), '')
  names = ('stem', 'file_name', 'image/filename')
  name = mapped.name or next((path for path in names if path in available), '')
  for option, path in (('image', mapped.image), ('mask', mask), ('name', name)):
    if path not in available and (path or option != 'name'):
      raise DataError(
        f'data_dir={data_dir} has no feature {option}={path!r}; give {option}=one of '
        f'{", ".join(sorted(available))}'
      )
  return dataclasses.replace(mapped, mask=mask, name=name)


def _left_encoded(features: Any, tfds: Any) -> dict[str, Any] | None:
  """Decoders that hand out the files of top-level pictures, which `images` then reads."""
  kept = {
    key: tfds.decode.SkipDecoding()
    for key, feature in features.items()
    if type(feature) is tfds.features.Image
  }
  return kept or None


@dataclasses.dataclass(frozen=True)
class _Example:
  stem: str
  image: Callable[[], np.ndarray]
  size: tuple[int, int]
  labels: np.ndarray
  names: tuple[str, ...]


def _example(source: Any, mapped: Mapped, split: str, position: int) -> _Example | Rejected:
  stem = f'{split}-{position:06d}'
  try:
    record = source[position]
    if mapped.name:
      stem = _text(_feature(record, mapped.name))
    found = _mask(_feature(record, mapped.mask), mapped, stem)
    encoded = _feature(record, mapped.image)
    if isinstance(encoded, bytes):
      held = images.Encoded(f'{stem}, {mapped.image}', encoded)
      size = images.picture_size(held)
      image: Callable[[], np.ndarray] = functools.partial(images.read_picture, held)
    else:
      pixels = _rgb(np.asarray(encoded), stem)
      size, image = (pixels.shape[0], pixels.shape[1]), lambda: pixels
  except images.UnreadableImage as error:
    return Rejected(stem, 'failed', str(error))
  if found.shape[-2:] != size:
    reason = f'its mask has {found.shape[-2:]} pixels, its picture {size}'
    return Rejected(stem, 'failed', reason, size)
  names = tuple(_text(one) for one in _feature(record, mapped.names)) if mapped.names else ()
  return _Example(stem, image, size, found, names)


def _entries(
  position: int, read: Callable[[int], _Example | Rejected], mapped: Mapped
) -> list[Entry]:
  example = read(position)
  if isinstance(example, Rejected):
    return [Entry(example.instance, functools.partial(pairs.same, example), lambda: example.size)]
  size = example.size
  if mapped.objects == 'masks':
    numbers = list(range(1, len(example.labels) + 1))
  else:
    numbers = labels.distinct(example.labels)
  if not numbers or len(numbers) > labels.MAX_OBJECTS:
    status, reason = 'skipped', 'its mask has no object'
    if numbers:
      status, reason = 'failed', f'its mask holds {len(numbers)} numbers, too many for objects'
    rejected = Rejected(example.stem, status, reason, size)
    return [Entry(example.stem, functools.partial(pairs.same, rejected), lambda: size)]
  out = []
  for number in numbers:
    name = f'{example.stem}#{number}'
    if mapped.names:
      name = example.names[number - 1]
    elif mapped.objects == 'binary' or mapped.object_id is not None:
      name = example.stem
    out.append(
      Entry(name, functools.partial(_read, name, position, number, read), lambda: size)
    )
  return out


def _read(
  instance: str, position: int, number: int, read: Callable[[int], _Example | Rejected]
) -> Sample | Rejected:
  example = read(position)
  if isinstance(example, Rejected):
    return dataclasses.replace(example, instance=instance)
  try:
    image = example.image()
  except images.UnreadableImage as error:
    return Rejected(instance, 'failed', str(error), example.size)
  if example.labels.ndim == 3:
    mask = example.labels[number - 1] > 0
    ignore = np.zeros_like(mask)
  else:
    mask, ignore = example.labels == number, example.labels == labels.IGNORED
  if not mask.any():
    return Rejected(instance, 'skipped', 'its mask has no object', example.size)
  return Sample(instance, image, mask, ignore)


def _mask(value: Any, mapped: Mapped, stem: str) -> np.ndarray:
  """(height, width) numbers, or (num_objects, height, width) where each has a mask of its own."""
  if isinstance(value, bytes):
    held = images.Encoded(f'{stem}, {mapped.mask}', value)
    numbers = images.read_mask(held, objects='ids')
  else:
    numbers = np.asarray(value)
    numbers = np.stack(list(value)) if numbers.dtype == object else numbers
    if mapped.objects == 'masks':
      if numbers.ndim == 4 and numbers.shape[-1] == 1:
        numbers = numbers[..., 0]
      if numbers.ndim != 3:
        raise images.UnreadableImage(f'{stem}: masks of shape {numbers.shape}')
      return numbers.astype(np.int32)
    if numbers.ndim == 3 and numbers.shape[-1] == 3:
      red, green, blue = np.moveaxis(numbers.astype(np.int32), -1, 0)
      numbers = red * 65536 + green * 256 + blue
    numbers = numbers[..., 0] if numbers.ndim == 3 else numbers
  if numbers.ndim != 2:
    raise images.UnreadableImage(f'{stem}: a mask of shape {numbers.shape}')
  out = numbers.astype(np.int32)
  if mapped.object_id is not None:
    out = (numbers == mapped.object_id).astype(np.int32)
  elif mapped.objects == 'binary':
    out = (numbers > 0).astype(np.int32)
  if mapped.ignore_id is not None:
    out[numbers == mapped.ignore_id] = labels.IGNORED
  return out


def _rgb(pixels: np.ndarray, stem: str) -> np.ndarray:
  if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[-1] not in (1, 3):
    raise images.UnreadableImage(f'{stem}: a picture of {pixels.dtype} {pixels.shape}')
  return np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels


def _feature(record: Any, path: str) -> Any:
  for key in path.split('/'):
    record = record[key]
  return record


def _text(value: Any) -> str:
  return value.decode('utf-8', 'surrogateescape') if isinstance(value, bytes) else str(value)


def encode_png(pixels: np.ndarray) -> io.BytesIO:
  """A PNG file in memory of (height, width[, 3]) uint8, as TFDS takes without TensorFlow."""
  from PIL import Image

  file = io.BytesIO()
  Image.fromarray(pixels).save(file, 'PNG')
  file.seek(0)
  return file
