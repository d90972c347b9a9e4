"""Where instances come from: the field's data sets, folders, COCO, TFDS, and bundled samples."""

from tetris_jax.data.benchmarks import BENCHMARKS, Benchmark, read_benchmark
from tetris_jax.data.canvas import Group, canvas_for, instance_id, plan, stack
from tetris_jax.data.click_maps import ClickMapError, ClickMaps
from tetris_jax.data.clicks import RCLICKS_NAMES, ClickFile, UserClick, place, read_clicks
from tetris_jax.data.coco import read_coco, read_coco_panoptic
from tetris_jax.data.dataset import DataError, Dataset, Entry
from tetris_jax.data.folder import read_folder
from tetris_jax.data.images import UnreadableImage
from tetris_jax.data.index import Indexing
from tetris_jax.data.registry import (
  DATASETS,
  names,
  open_dataset,
  options_of,
  parse_options,
  register,
)
from tetris_jax.data.sample import Rejected, Sample
from tetris_jax.data.samples import read_samples
from tetris_jax.data.tfds_source import read_tfds

__all__ = [
  'BENCHMARKS',
  'DATASETS',
  'RCLICKS_NAMES',
  'Benchmark',
  'ClickFile',
  'ClickMapError',
  'ClickMaps',
  'DataError',
  'Dataset',
  'Entry',
  'Group',
  'Indexing',
  'Rejected',
  'Sample',
  'UnreadableImage',
  'UserClick',
  'canvas_for',
  'instance_id',
  'names',
  'open_dataset',
  'options_of',
  'parse_options',
  'place',
  'plan',
  'read_benchmark',
  'read_clicks',
  'read_coco',
  'read_coco_panoptic',
  'read_folder',
  'read_samples',
  'read_tfds',
  'register',
  'stack',
]
