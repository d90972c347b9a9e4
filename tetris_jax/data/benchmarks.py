"""The field's data sets in the layouts that users have on disk, read as the reference loaders do.

| name | folders | object | ignored |
|---|---|---|---|
| grabcut | data_GT, boundary_GT | blue > 128 | blue == 128 |
| berkeley | images, masks | blue > 128 | blue == 128 |
| davis, coco_mval | img, gt | any channel > 0 | none |
| sbd | img, inst (.mat), val.txt | its number | none |
| tetris | images, masks | its 24-bit number | none |

Blue is the first channel of `cv2.imread`. The first four have one object a picture, named by its
stem; the last two name their objects `stem#number`.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from tetris_jax.data import images, labels, masks, pairs, resize, sbd
from tetris_jax.data.dataset import DataError, Dataset, Entry
from tetris_jax.data.index import Index, Indexing

__all__ = ['BENCHMARKS', 'Benchmark', 'read_benchmark']


@dataclasses.dataclass(frozen=True)
class Benchmark:
  """What is published about a data set, and where its files lie.

  Attributes:
    title: as the field writes it.
    folders: of the pictures and the masks.
    pictures: published numbers of picture files; some releases repeat a picture an object.
    instances: published number of objects.
    page: where to get it.
    citation: the paper that introduced it.
    read_labels: path of a mask -> (height, width) int32; None where a reader of its own does it.
    extra: files that it needs beside its folders.
    original: folders of another release of the same pictures.
    arrange: how that is brought into this layout, as a clause.
    rule: which colours are an object, as a clause.
  """

  title: str
  folders: tuple[str, str]
  pictures: tuple[int, ...]
  instances: int
  page: str
  citation: str
  read_labels: Callable[[pathlib.Path], np.ndarray] | None = None
  extra: tuple[str, ...] = ()
  original: tuple[str, ...] = ()
  arrange: str = ''
  rule: str = ''

  @property
  def layout(self) -> str:
    """What `data_dir` must hold, as a clause."""
    files = ''.join(f' and the file {name}' for name in self.extra)
    return (
      f'it must hold the folders {self.folders[0]} and {self.folders[1]}{files}, '
      'with a picture and its mask of the same stem'
    )

  @property
  def download(self) -> str:
    """Where the data set comes from, as a clause."""
    return f'{self.title} is to be had at {self.page}'


def _numbers(path: pathlib.Path) -> np.ndarray:
  return images.read_mask(path, objects='ids')


_RITM = 'https://github.com/SamsungLabs/ritm_interactive_segmentation#datasets'

_BLUE = (
  'here that is where blue is above 128, and none is so bright (masks of 0 and 1, or of a colour '
  'without blue, are read with dataset=folder)'
)

BENCHMARKS = {
  'grabcut': Benchmark(
    'GrabCut', ('data_GT', 'boundary_GT'), (50,), 50, _RITM,
    'C. Rother, V. Kolmogorov, A. Blake: GrabCut, SIGGRAPH 2004', masks.trimap,
    rule=_BLUE,
  ),
  'berkeley': Benchmark(
    'Berkeley', ('images', 'masks'), (96, 100), 100, _RITM,
    'K. McGuinness, N. O\'Connor: A comparative evaluation of interactive segmentation '
    'algorithms, Pattern Recognition 43, 2010', masks.trimap, rule=_BLUE,
  ),
  'davis': Benchmark(
    'DAVIS', ('img', 'gt'), (345,), 345, _RITM,
    'F. Perazzi et al.: A benchmark dataset and evaluation methodology for video object '
    'segmentation, CVPR 2016', masks.nonzero, original=('JPEGImages', 'Annotations'),
    arrange="the field's 345 frames are a selection of it that comes as img and gt; for frames of "
    'your own put JPEGImages/480p/bear/00000.jpg as img/bear-00000.jpg beside gt/bear-00000.png',
  ),
  'coco_mval': Benchmark(
    'COCO-MVal', ('img', 'gt'), (800,), 800, _RITM,
    'T.-Y. Lin et al.: Microsoft COCO, ECCV 2014', masks.nonzero,
  ),
  'sbd': Benchmark(
    'SBD', ('img', 'inst'), (2857,), 6671,
    f'http://home.bharathh.info/pubs/codes/SBD/download.html (its val.txt at {_RITM})',
    'B. Hariharan et al.: Semantic contours from inverse detectors, ICCV 2011',
    extra=('val.txt',),
  ),
  'tetris': Benchmark(
    'TETRIS', ('images', 'masks'), (2000,), 2531, 'https://emb-ai.github.io/rclicks/',
    'A. Moskalenko et al.: TETRIS, AAAI 2024, arXiv 2402.06132', _numbers,
  ),
}  # fmt: skip


def read_benchmark(
  name: str,
  data_dir: str | os.PathLike[str] | None,
  *,
  long_side: int = 2048,
  split: str = 'val',
  min_box_share: float = sbd.MIN_BOX_SHARE,
  indexing: Indexing | None = None,
) -> Dataset:
  """Lists the instances of one of `BENCHMARKS`, sorted by name; pixels are read on access.

  What cannot be read becomes a rejected instance, and names pair up, as in `read_folder`. Where the
  numbers of pictures or instances are not the published ones, a note of the data set says so, once
  all have been counted.

  Args:
    name: a key of `BENCHMARKS`.
    data_dir: holds the layout that the module's docstring lists.
    long_side: of 'tetris': its pictures' longer side is cut to this many pixels, as RClicks does;
      BREPS has 1024, and 0 leaves them.
    split: of 'sbd': the stem of the file with the names of its pictures.
    min_box_share: of 'sbd': an object that fills less of its box is dropped; 0 keeps all.
    indexing: of 'sbd' and 'tetris', whose objects are known only after their masks were read.

  Raises:
    DataError: no `data_dir`, or something is missing in it; the message says what, where to get it
      and what was found instead.
    ValueError: an option is out of range.
  """
  if long_side < 0:
    raise ValueError(f'long_side={long_side}; expected at least 0')
  if not 0 <= min_box_share <= 1:
    raise ValueError(f'min_box_share={min_box_share}; expected 0 to 1')
  about = BENCHMARKS[name]
  if name == 'sbd':
    about = dataclasses.replace(about, extra=(f'{split}.txt',))
  needed = (*about.folders, *about.extra)
  _refuse_original(about, data_dir)
  root = pairs.find_root(name, data_dir, needed, about.layout, download=about.download)
  notes: list[str] = []
  if name == 'sbd':
    index = Index(indexing, name=f'sbd min_box_share={min_box_share}', root=root)
    found, entries = sbd.list_split(root, about.folders, split, min_box_share, index)
    if index.whole and index.left_out:
      notes.append(
        f'{about.title}: {index.left_out} objects that fill less than {100 * min_box_share:g} % of '
        'their boxes are left out; min_box_share=0 keeps them'
      )
  else:
    pairs.require_files(name, root, about.folders[0], about.layout, download=about.download)
    found, entries = pairs.paired(root, about.folders, note=notes.append)
    index = Index(indexing if name == 'tetris' else None, name=name, root=root)
    entries = _entries(name, about, found, long_side, entries, index)
  pictures = len({picture for _, picture, _ in found})
  if split == 'val':
    counted = index.whole or not index.limit
    notes += _mismatch(about, pictures, len(entries) if counted else None)
  return Dataset(name, sorted(entries, key=pairs.order), notes=notes)


def _entries(
  name: str,
  about: Benchmark,
  found: Sequence[tuple[str, pathlib.Path, pathlib.Path]],
  long_side: int,
  others: Sequence[Entry],
  index: Index,
) -> list[Entry]:
  assert about.read_labels is not None
  if name == 'tetris':
    reader = labels.Reader(
      functools.partial(_limited_labels, long_side=long_side),
      picture=functools.partial(_limited_picture, long_side=long_side),
      size=functools.partial(_limited_size, long_side=long_side),
      listed=_numbers,
    )
    return labels.every_object(found, reader, others=others, index=index)
  reader = labels.Reader(about.read_labels, rule=about.rule)
  return [*others, *(labels.one_object(*one, reader) for one in found)]


def _refuse_original(about: Benchmark, data_dir: str | os.PathLike[str] | None) -> None:
  """Raises DataError where another release of a data set lies in the place of this one."""
  root = pathlib.Path(data_dir or '').expanduser()
  is_there = lambda parts: all((root / part).is_dir() for part in parts)
  if data_dir and about.original and is_there(about.original) and not is_there(about.folders):
    raise DataError(
      f'data_dir={data_dir} has {" and ".join(about.original)}: it is the original release of '
      f'{about.title}; {about.arrange}; {about.download}'
    )


def _mismatch(about: Benchmark, pictures: int, instances: int | None) -> list[str]:
  """What a user has to be told of other numbers than the published ones.

  Args:
    about: the data set.
    pictures: how many there are.
    instances: likewise; None where they were not all looked for.
  """
  if pictures in about.pictures and instances in (None, about.instances):
    return []
  expected = ' or '.join(str(count) for count in about.pictures)
  found = f'{pictures} pictures' if instances is None else f'{pictures} and {instances}'
  return [
    f'{about.title} was published with {expected} pictures and {about.instances} instances, found '
    f'{found}; scores of other instances do not compare with published ones'
  ]


def _limited_picture(path: pathlib.Path, long_side: int) -> np.ndarray:
  return resize.limit_long_side(images.read_picture(path), long_side)


def _limited_size(path: pathlib.Path, long_side: int) -> tuple[int, int] | None:
  size = pairs.picture_size(path)
  return size and resize.limited_size(size, long_side)


def _limited_labels(path: pathlib.Path, long_side: int) -> np.ndarray:
  """Numbers at the limited size: each object's mask resized by itself, wherever it is not zero."""
  numbers = _numbers(path)
  size = numbers.shape[0], numbers.shape[1]
  target = resize.limited_size(size, long_side)
  if target == size:
    return numbers
  out = np.zeros(target, np.int32)
  for number in labels.distinct(numbers):
    # Where two meet, the later one counts, as in RClicks' loader.
    out[resize.resize((numbers == number).astype(np.uint8), target) > 0] = number
  return out
