"""Data sets that TensorFlow Datasets has prepared as array_record, read without TensorFlow.

Any set with a picture and a mask of object numbers, a binary mask or one mask an object will do;
which feature is which is told by a small mapping. What `tetris_jax.data.builders` has prepared
needs none.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import io
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tetris_jax.data import images, labels, pairs
from tetris_jax.data.dataset import DataError, Dataset, Entry
from tetris_jax.data.index import Index, Indexing, Question, is_kept, stamp_of
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
  indexing: Indexing | None = None,
) -> Dataset:
  """Lists the instances of a prepared data set, in its own order; pixels are read on access.

  Every mask is read once at the start to find the objects, as `indexing` says. Where a record has
  the name of an earlier one, its position follows its name: `a.jpg@12#1`.

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
    indexing: how many instances are wanted, and where is kept what masks were found to hold.

  Raises:
    DataError: no prepared data set, another file format, or no such split or feature.
    ValueError: `objects` is unknown.
  """
  if objects not in _KINDS:
    raise ValueError(f'objects={objects!r}; expected one of {", ".join(_KINDS)}')
  root = pairs.find_root('tfds', data_dir, ('dataset_info.json',), _LAYOUT)
  import tensorflow_datasets as tfds

  try:
    builder = tfds.builder_from_directory(str(root))
  except Exception as error:  # Of a damaged folder, whatever TFDS raises.
    detail = (str(error).splitlines() or [type(error).__name__])[0]
    raise DataError(f'data_dir={data_dir} is no prepared data set: {detail}') from error
  split = _split(builder, split, data_dir)
  mapped = Mapped(image, mask, objects, name, '', object_id, ignore_id)
  available = _paths(builder.info.features)
  if not mask and {'segmentation', 'instances', 'stem'} <= available.keys():
    mapped = Mapped(mask='segmentation', name='stem', names='instances', ignore_id=255)
  else:
    mapped = _completed(mapped, available, data_dir)
  source = _source(builder, split, data_dir)
  read = functools.lru_cache(maxsize=1)(functools.partial(_example, source, mapped, split))
  index = Index(indexing, name=f'tfds {split} {mapped}', root=root)
  stamp = stamp_of(root / 'dataset_info.json', *sorted(root.glob('*.array_record*')))
  ask = functools.partial(functools.partial, _look, read=read, mapped=mapped)
  number = range(len(source))
  asked = [Question(f'{split}-{at}', lambda: stamp, ask(at), _lasts, _is_answer) for at in number]
  entries, notes = _listed(index, asked, read)
  return Dataset(builder.name, entries, notes=notes)


def _source(builder: Any, split: str, data_dir: object) -> Any:
  """The records of a split, by position."""
  import tensorflow_datasets as tfds

  try:
    return builder.as_data_source(split, decoders=_left_encoded(builder.info.features, tfds))
  except (NotImplementedError, ValueError) as error:
    raise DataError(
      f'data_dir={data_dir} cannot be read record by record; prepare it with '
      f'file_format=array_record ({str(error).splitlines()[0]})'
    ) from error


def _lasts(answer: Mapping[str, Any]) -> bool:
  """Whether an answer is one of the record's; one that failed may be read the next time."""
  return 'rejected' not in answer or answer['rejected'][0] != 'failed'


def _is_answer(found: Any) -> bool:
  """Whether what was kept of a record is as `_look` has it, whoever wrote it."""
  keys = ('name', 'content', 'size', 'rejected', 'objects')
  held = found if isinstance(found, dict) and len(found) == 4 and {*found} <= {*keys} else {}
  name, content, size, rejected, objects = map(held.get, keys)
  sized = is_kept([name, content], str, str) and (size is None or is_kept(size, int, int))
  several = isinstance(objects, list) and all(is_kept(one, str, str, int) for one in objects)
  return sized and (several or is_kept(rejected, str, str))


def _listed(
  index: Index, questions: Sequence[Question], read: Callable[[int], _Example | Rejected]
) -> tuple[list[Entry], list[str]]:
  """The entries of all records, or of as many as are wanted, and notes."""
  entries: list[Entry] = []
  taken: set[str] = set()
  again = 0
  with contextlib.closing(index.answers(questions, 'records')) as answers:
    for position, answer in enumerate(answers):
      made = _entries(position, answer, read)
      if taken & {entry.instance for entry in made}:
        again += 1
        made = _entries(position, answer, read, f'@{position}')
      taken |= {entry.instance for entry in made}
      entries += made
      if index.limit and len(entries) >= index.limit:
        break
  note = f'records with the name of an earlier one: {again}; their positions follow their names'
  return entries, [note] if again else []


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
  stored: bytes | np.ndarray


def _example(source: Any, mapped: Mapped, split: str, position: int) -> _Example | Rejected:
  stem = f'{split}-{position:06d}'
  try:
    record = source[position]
  except Exception as error:  # Of a damaged file, whatever its reader and TFDS raise.
    detail = (str(error).splitlines() or [type(error).__name__])[0]
    return Rejected(stem, 'failed', f'record {position} of {split} cannot be read: {detail}')
  try:
    if mapped.name:
      stem = _text(_feature(record, mapped.name))
    found = _mask(_feature(record, mapped.mask), mapped, stem)
    encoded = _feature(record, mapped.image)
    if isinstance(encoded, bytes):
      held = images.Encoded(f'{stem}, {mapped.image}', encoded)
      size = images.picture_size(held)
      image: Callable[[], np.ndarray] = functools.partial(images.read_picture, held)
    else:
      encoded = pixels = _rgb(np.asarray(encoded), stem)
      size, image = (pixels.shape[0], pixels.shape[1]), lambda: pixels
  except images.UnreadableImage as error:
    return Rejected(stem, 'failed', str(error))
  if found.shape[-2:] != size:
    reason = f'its mask has {found.shape[-2:]} pixels, its picture {size}'
    return Rejected(stem, 'failed', reason, size)
  names = tuple(_text(one) for one in _feature(record, mapped.names)) if mapped.names else ()
  return _Example(stem, image, size, found, names, encoded)


def _look(
  position: int, read: Callable[[int], _Example | Rejected], mapped: Mapped
) -> dict[str, Any]:
  """What a record holds, for an index: its objects as [name, mark, number], or why there are none.

  The name proper and what follows it stand apart, for a position may come between them.
  """
  example = read(position)
  if isinstance(example, Rejected):
    found = [example.status, example.reason]
    return {'name': example.instance, 'size': example.size, 'rejected': found, 'content': ''}
  about = {'name': example.stem, 'size': example.size, 'content': _digest(example)}
  if mapped.objects == 'masks':
    numbers = list(range(1, len(example.labels) + 1))
  else:
    numbers = labels.distinct(example.labels)
  if not numbers:
    return {**about, 'rejected': ['skipped', 'its mask has no object']}
  if len(numbers) > labels.MAX_OBJECTS:
    reason = f'its mask holds {len(numbers)} numbers, too many for objects'
    return {**about, 'rejected': ['failed', reason]}
  alone = mapped.objects == 'binary' or mapped.object_id is not None
  if mapped.names:
    called = [[example.names[number - 1], '', number] for number in numbers]
  else:
    called = [[example.stem, '' if alone else f'#{number}', number] for number in numbers]
  return {**about, 'objects': called}


def _digest(example: _Example) -> str:
  """Changes with a record's pixels, wherever in its file they lie."""
  digest = hashlib.sha256()
  for part in (example.stored, example.labels):
    if isinstance(part, bytes):
      digest.update(part)
    else:
      digest.update(f'{part.dtype} {part.shape}'.encode())
      digest.update(np.ascontiguousarray(part).data)
  return digest.hexdigest()[:32]


def _entries(
  position: int,
  answer: Mapping[str, Any],
  read: Callable[[int], _Example | Rejected],
  mark: str = '',
) -> list[Entry]:
  """The entries of a record of which `_look` said so; `mark` follows its name."""
  size = tuple(answer['size']) if answer['size'] else None
  if 'rejected' in answer:
    name = answer['name'] + mark
    status, reason = answer['rejected']
    found = functools.partial(pairs.same, Rejected(name, status, reason, size))
    return [Entry(name, found, lambda: size, content=answer['content'])]
  out = []
  for name, number_mark, number in answer['objects']:
    name += mark + number_mark
    asked = functools.partial(_read, name, position, number, read)
    out.append(Entry(name, asked, lambda: size, content=answer['content']))
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
    mask, ignore = example.labels[number - 1] > 0, example.labels[number - 1] == labels.IGNORED
  else:
    mask, ignore = example.labels == number, example.labels == labels.IGNORED
  if not mask.any():
    return Rejected(instance, 'skipped', 'its mask has no object', example.size)
  return Sample(instance, image, mask, ignore)


def _mask(value: Any, mapped: Mapped, stem: str) -> np.ndarray:
  """(height, width) numbers, or (num_objects, height, width) where each has a mask of its own."""
  name = f'{stem}, {mapped.mask}'
  if isinstance(value, bytes):
    drawn = mapped.objects != 'binary' and mapped.object_id is None
    numbers = images.read_mask(images.Encoded(name, value), objects='ids', drawn=drawn)
  else:
    numbers = np.asarray(value)
    numbers = np.stack(list(value)) if numbers.dtype == object else numbers
    numbers = _one_channel(numbers, mapped, name)
  if numbers.ndim != (3 if mapped.objects == 'masks' else 2):
    kind = 'masks' if mapped.objects == 'masks' else 'a mask'
    raise images.UnreadableImage(f'{stem}: {kind} of shape {numbers.shape}')
  ignored = np.zeros(numbers.shape, np.bool_)
  if mapped.ignore_id is not None:
    ignored = numbers == mapped.ignore_id
    numbers = np.where(ignored, 0, numbers).astype(numbers.dtype)
  if mapped.object_id is not None:
    out = (numbers == mapped.object_id).astype(np.int32)
  elif mapped.objects == 'ids':
    out = _whole(numbers, name)
  else:
    out = _flags(numbers, name)
  out[ignored] = labels.IGNORED
  return out


def _one_channel(numbers: np.ndarray, mapped: Mapped, name: str) -> np.ndarray:
  """Without the axis of channels: one, or three of a 24-bit number."""
  if numbers.ndim == (4 if mapped.objects == 'masks' else 3) and numbers.shape[-1] == 1:
    return numbers[..., 0]
  if mapped.objects == 'masks' or numbers.ndim != 3 or numbers.shape[-1] != 3:
    return numbers
  channels = labels.whole(numbers, name)
  if channels.size and channels.max() > 255:
    raise images.UnreadableImage(
      f'{name} has three channels with numbers up to {channels.max()}; each of 24 bits has 0 to 255'
    )
  red, green, blue = np.moveaxis(channels, -1, 0)
  return red * 65536 + green * 256 + blue


def _whole(numbers: np.ndarray, name: str) -> np.ndarray:
  try:
    return labels.whole(numbers, name)
  except images.UnreadableImage as error:
    advice = "objects='binary' makes one object of all above 0, and ignore_id leaves a number out"
    raise images.UnreadableImage(f'{error}; {advice}') from error


def _flags(numbers: np.ndarray, name: str) -> np.ndarray:
  """1 where numbers are above 0; raises UnreadableImage where they grade into each other."""
  if numbers.dtype.kind == 'f' and not (np.floor(numbers) == numbers).all():
    found = np.unique(numbers)
    if len(found) > 2 or found[0] != 0 or not np.isfinite(found).all():
      raise images.UnreadableImage(
        f'{name} holds {len(found)} different numbers from {found[0]:.4g} to {found[-1]:.4g}, as '
        'probabilities or smoothed edges do; which of them are the object nobody can tell'
      )
  return (numbers > 0).astype(np.int32)


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
