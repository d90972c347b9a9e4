"""What a program can be told: frozen dataclasses whose fields hold default, help and checks.

A group holds what several programs read. A program's `Settings` are its groups and fields of its
own, flat, and a plain object in Python:

  @dataclasses.dataclass(frozen=True, kw_only=True)
  class Settings(settings.Run, settings.Data, settings.Model):
    pictures: int = settings.setting(-1, 'How many instances are drawn.', least=-1)

`experiments.lib.flags` makes flags of them. Bases are written from the last to the first, for that
is the order in which dataclasses collect fields.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterable

from experiments.lib import ranks
from experiments.lib.groups import Group, UsageError, setting
from tetris_jax import data, presets
from tetris_jax.runs import files

__all__ = [
  'AUTO',
  'LARGEST_SEED',
  'Attack',
  'Batches',
  'Data',
  'Depth',
  'Group',
  'Model',
  'ModelName',
  'Plugins',
  'Rounds',
  'Run',
  'Search',
  'Seed',
  'UsageError',
  'Users',
  'setting',
]

AUTO = 'auto'
"""A batch size that is yet to be found."""

LARGEST_SEED = 2**32 - 1
"""That JAX and NumPy both take."""


def _models() -> Iterable[str]:
  from ports import zoo  # Not all programs need it.

  return sorted(zoo.MODELS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plugins(Group):
  """Code of one's own."""

  plugins: tuple[str, ...] = setting(
    (),
    'Modules to import first, by commas: those that register models, presets, metrics or data sets '
    'of your own.',
    recorded='given',
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelName(Group):
  """Which model."""

  model: str = setting('mobile_sam', 'Model of the zoo.', names=_models)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model(ModelName):
  """A model ready to be evaluated."""

  @property
  def uses_device(self) -> bool:
    """It is evaluated there."""
    return True

  weights: str | None = setting(
    None,
    'Checkpoint as a path (a folder of Orbax for parameters trained here), an https address or a '
    'name on the Hugging Face hub, such as hf:facebook/sam2.1-hiera-tiny; by default the weights '
    'come from the cache or are fetched.',
    path=True,
  )
  zoom: str | None = setting(
    None,
    'For models that read click maps: "exact" is the published evaluation (an aspect-keeping crop '
    'of 400 pixels, "exact_600" on DAVIS), "fixed" sees one size at every click. Default: the '
    "first that the zoo lists of the model's.",
  )
  disks: str | None = setting(
    None,
    'For models that read click maps: "soft" draws anti-aliased clicks, through which gradients '
    'pass, "hard" those of the published evaluation. Default: hard where nothing is searched.',
  )
  cascade: str | None = setting(
    None,
    'For models that read click maps: "cf4" runs the model five times at the first click, each fed '
    'the mask of the last, "acf4" until the mask has settled (as the published evaluation of '
    'CFR-ICL does), "none" once.',
    recorded='given',
  )
  merge: str | None = setting(
    None,
    'For FocalClick: "always" joins what a click changes to the mask before it, as the published '
    'evaluation does from given masks, "never" takes the mask as it is.',
    recorded='given',
  )
  mask_choice: str | None = setting(
    None,
    'For the SAM family: "best_of_three" takes the mask with the highest predicted IoU, as '
    'published evaluations of SAM, MobileSAM and SAM-HQ do (their default), "single" the one for '
    'unambiguous prompts, as those of SAM 2 do (its default), "advised" the former at the first '
    'click and the latter afterwards.',
    recorded='given',
  )
  feedback: str | None = setting(
    None,
    'For the SAM family: whether the mask is fed back "always", or with '
    '"forget_at_negative_second" not at a second click that is negative, as in the published '
    'wrapper.',
    recorded='given',
  )
  precision: str | None = setting(
    None,
    'For the SAM family: in which the image encoder computes, "float32" or "bfloat16".',
    recorded='given',
  )
  hq: str | None = setting(
    None,
    'For SAM-HQ: the high-quality logits are "added" to the chosen mask, or taken by themselves, '
    '"hq_only".',
    recorded='given',
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data(Group):
  """Instances of a data set."""

  dataset: str = setting('samples', 'Data set.', names=data.names)
  data_dir: str | None = setting(
    None,
    'Where the data set lies; --dataset=folder has images/ and masks/ in it.',
    path=True,
  )
  data_options: tuple[str, ...] = setting(
    (), 'Options of a data set as key=value, such as split=val for --dataset=sbd.'
  )
  objects: str = setting(
    'binary', "For --dataset=folder: 'binary' masks, or 'ids' with an object a number."
  )
  ignore_id: int | None = setting(
    None, 'With --objects=ids: the number of pixels that no metric counts.'
  )
  limit: int = setting(0, 'Only the first so many instances; 0 for all.', least=0)

  def __post_init__(self) -> None:
    """Raises UsageError as `Group`; an option may be a path too."""
    super().__post_init__()
    options = (option.partition('=') for option in self.data_options)
    expanded = tuple(name + sign + os.path.expanduser(value) for name, sign, value in options)
    object.__setattr__(self, 'data_options', expanded)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rounds(Group):
  """How many clicks."""

  num_clicks: int = setting(10, 'Rounds of a trajectory.', least=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Depth(Group):
  """Where a global search may click."""

  depth: float = setting(
    0.0,
    'With a preset of a global search: clicks lie deeper in the legal region than this share of '
    'its largest inner distance.',
  )

  def suffix(self) -> str:
    """What tells a work folder's default name from that of the plain preset."""
    return f'-depth-{self.depth:g}' if self.depth else ''


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search(Depth):
  """What may be asked of a global search over several rounds."""

  num_beams: int = setting(
    1,
    'With a preset of a global search: trajectories of MIN, and of MAX, carried through the '
    'rounds.',
    least=1,
  )

  def suffix(self) -> str:
    """What tells a work folder's default name from that of the plain preset."""
    return super().suffix() + (f'-beams-{self.num_beams}' if self.num_beams > 1 else '')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attack(Search, Rounds):
  """One attack."""

  preset: str = setting('tetris', 'Named attack.', names=lambda: presets.PRESETS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Users(Group):
  """Who clicks beside an attack."""

  # They stand under "users" in config.json, where there are some.
  users: int = setting(
    64,
    'Sampled users an instance who click beside the attack, for the robustness profile; 0 for '
    'none.',
    least=0,
    recorded='never',
  )
  prior: str = setting(
    'distance',
    'Where users click: "distance" from the border of the error, "uniform", "gaussian_0.05" around '
    "the robot user's click (a share of the diagonal), a prior that a plug-in registers, or a "
    'folder of maps, a.npy or a.png for a.jpg.',
    recorded='never',
  )

  def __post_init__(self) -> None:
    """Raises UsageError also for a prior of nobody."""
    super().__post_init__()
    if not self.users and self.prior != 'distance':
      raise UsageError(f'--prior={self.prior}: nobody clicks with --users=0; leave it out')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seed(Group):
  """Of attacks, most of which draw nothing."""

  seed: int | None = setting(
    None,
    'Of users, and of a preset whose search draws at random; refused where nothing is drawn.',
    least=0,
    most=LARGEST_SEED,
    recorded='given',
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batches(Group):
  """How instances are grouped."""

  batch_size: int | str = setting(
    0,
    'Instances that a device evaluates at once; 0 for 1 on a CPU and 8 on a GPU or TPU, or 1 heat '
    'map; "auto" for as many as a GPU or TPU has memory for, and 1 on a CPU, where more take no '
    'less time each. A run that goes on keeps its number.',
    least=0,
    words=(AUTO,),
  )

  @property
  def slots(self) -> int:
    """Instances a batch, once that is settled."""
    assert isinstance(self.batch_size, int)
    return self.batch_size


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run(Group):
  """Where rows go, and which part of a run this is."""

  workdir: str | None = setting(
    None,
    'Where results go; by default a folder below runs/, named by model, data set and attack.',
    path=True,
    recorded='never',
  )
  shard: str | None = setting(
    None,
    'With "auto", which part of the instances this process evaluates is what its launcher says: '
    'SLURM (steps and job arrays), MPI, indexed Jobs and JobSets of Kubernetes, TPU slices.',
    choices=('auto',),
    recorded='never',
  )
  shard_id: int | None = setting(
    None, 'Which part of the instances to evaluate, from 0; by default all.', recorded='never'
  )
  num_shards: int | None = setting(
    None,
    'In how many parts; with --shard=auto only where the launcher does not say.',
    recorded='never',
  )

  def __post_init__(self) -> None:
    """Raises UsageError for a shard that cannot be."""
    super().__post_init__()
    number, count = self.shard_id, self.num_shards
    if self.shard is not None:
      if number is not None:
        raise UsageError(f'--shard={self.shard} says itself which it is; leave --shard_id out')
      return
    if (number is None) != (count is None):
      raise UsageError('--shard_id and --num_shards are given together or not at all')
    if number is not None and count is not None and not 0 <= number < count:
      raise UsageError(f'--shard_id={number} of --num_shards={count}: expected 0 to {count - 1}')

  @property
  def part(self) -> tuple[int, int]:
    """The number of this shard and how many there are; (0, 1) for a run in one piece.

    Raises:
      UsageError: it is to be read from the environment, where nobody says it.
    """
    if self.shard is not None:
      rank = ranks.found(self.num_shards)
      return rank.number, rank.of or 1
    return self.shard_id or 0, self.num_shards or 1

  @property
  def name(self) -> str:
    """Of the work folder, by default."""
    raise NotImplementedError

  @property
  def whole(self) -> pathlib.Path:
    """The work folder of a run in one piece."""
    # Models and presets of one's own may have any name.
    return pathlib.Path(self.workdir or pathlib.Path('runs') / files.safe_name(self.name))

  @property
  def folder(self) -> pathlib.Path:
    """The work folder; each shard of several has one below that of the whole."""
    number, count = self.part
    return self.whole if count == 1 else self.whole / f'shard-{number:05d}-of-{count:05d}'
