"""Pictures that were lost: found so, and the masks that they show evaluated again from rows."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

import tetris_jax
from tetris_jax import types
from tetris_jax.report import pictures
from tetris_jax.runs import files

__all__ = ['clicks_of', 'replayed', 'trouble']


def trouble(path: pathlib.Path) -> str:
  """Why a picture of a run is not whole, a sentence; '' where it is."""
  try:
    data = files.read_regular(path, most_bytes=pictures.MOST_BYTES, inside=path.parent.parent)
  except files.MissingFileError:
    return f'{path} is missing'
  except files.FileError as error:
    return str(error)
  why = pictures.damage(data)
  return f'{path} is damaged ({why})' if why else ''


def clicks_of(rows: Sequence[Mapping[str, Any]], slots: int) -> types.Clicks:
  """The clicks of rows with numbers, yx (slots, modes, num_clicks, 2); the last fill the batch.

  Args:
    rows: of one run of experiments.attack.
    slots: of the batch.
  """
  modes = [mode for mode in types.MODES if rows[0]['clicks'][mode] is not None]
  found = np.array([[row['clicks'][mode] for mode in modes] for row in rows])
  found = np.concatenate([found, np.repeat(found[-1:], slots - len(rows), axis=0)])
  return types.Clicks(found[..., :2].astype(np.float32), found[..., 2].astype(np.int32))


def replayed(
  key: jax.Array,
  segmenter: types.Segmenter,
  batch: types.Batch,
  clicks: types.Clicks,
  *,
  rounds: tuple[int, ...],
) -> types.Trajectories:
  """`tetris_jax.replay` as a program, with the masks after some rounds.

  Args:
    key: not used.
    segmenter: the model.
    batch: the instances.
    clicks: of `clicks_of`.
    rounds: whose masks are kept, from 0.
  """
  del key
  found = tetris_jax.replay(segmenter, batch, clicks)
  assert found.mask is not None
  return found._replace(mask=found.mask[:, :, np.array(rounds)])
