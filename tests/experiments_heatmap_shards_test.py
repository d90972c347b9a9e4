"""Heat maps in parts: shards, several devices, and a run that was stopped."""

import json

import jax
import pytest
import toy
from experiments_heatmap_test import rows_of, settings, toy_zoo

from experiments import heatmap
from experiments.lib import heatmap_job, programs
from tetris_jax.report.heatmaps import summary as heatmaps

pytestmark = pytest.mark.slow

__all__ = ['toy_zoo']


def test_shards_part_the_instances_and_merge(tmp_path):
  toy.write_folder(tmp_path / 'data', ((40, 52),) * 3)
  asked = lambda work, **more: settings(
    tmp_path / 'data', tmp_path / work, 6, batch_size=1, **more
  )
  assert heatmap.execute(asked('whole')) == 0
  for number in range(2):
    assert heatmap.execute(asked('cut', shard_id=number, num_shards=2)) == 0
  names = [
    [row['instance'] for row in rows_of(tmp_path / 'cut' / f'shard-0000{k}-of-00002')]
    for k in range(2)
  ]
  assert names == [['p0', 'p2'], ['p1']]
  whole, cut = (heatmaps.read_heatmaps(tmp_path / work) for work in ('whole', 'cut'))
  plain = lambda rows: [{k: v for k, v in row.items() if k != 'picture'} for row in rows]
  assert plain(cut.rows) == plain(whole.rows) and list(cut.pictures) == list(whole.pictures)
  assert heatmap.execute(asked('some', every=2, limit=1)) == 0
  assert [row['instance'] for row in rows_of(tmp_path / 'some')] == ['p0']
  assert heatmap.execute(asked('most', every=2)) == 0
  assert [row['instance'] for row in rows_of(tmp_path / 'most')] == ['p0', 'p2']


def test_two_devices_map_what_one_instance_alone_maps(tmp_path, monkeypatch):
  assert len(jax.local_devices()) == 2
  toy.write_folder(tmp_path / 'data', ((40, 52), (48, 44), (64, 40)))
  both, alone = tmp_path / 'both', tmp_path / 'alone'
  assert heatmap.execute(settings(tmp_path / 'data', both, names=('tetris', 'strong_v1_16'))) == 0
  assert json.loads((both / 'config.json').read_text())['flags']['batch_size'] == 1
  assert len(list((both / 'results').iterdir())) == 3
  monkeypatch.setattr(programs.jax, 'local_devices', lambda: jax.devices()[:1])
  asked = settings(
    tmp_path / 'data', alone, names=('tetris', 'strong_v1_16'), batch_size=1
  )
  assert heatmap.execute(asked) == 0
  for name in ('rows.jsonl', 'shares.json', 'shares.md', 'summary.json'):
    assert (both / name).read_bytes() == (alone / name).read_bytes()
  for file in (alone / 'maps').iterdir():
    assert (both / 'maps' / file.name).read_bytes() == file.read_bytes()


def test_a_stopped_run_ends_with_the_same_bytes(tmp_path, monkeypatch, capsys):
  toy.write_folder(tmp_path / 'data', ((40, 52), (48, 44), (64, 40)))
  asked = lambda work: settings(tmp_path / 'data', tmp_path / work, batch_size=1)
  assert heatmap.execute(asked('calm')) == 0
  whole, calls = heatmap_job.HeatmapJob.truth, []

  def stop(self, batch, say):
    calls.append(batch)
    if len(calls) == 3:
      # Another device may still have the second one.
      toy.wait(lambda: len([*(tmp_path / 'cut' / 'results').glob('*.jsonl')]) == 2)
      raise KeyboardInterrupt
    return whole(self, batch, say)

  monkeypatch.setattr(heatmap_job.HeatmapJob, 'truth', stop)
  with pytest.raises(KeyboardInterrupt):
    heatmap.execute(asked('cut'))
  assert len(list((tmp_path / 'cut' / 'results').iterdir())) == 2
  assert not (tmp_path / 'cut' / 'rows.jsonl').exists()
  assert heatmap.execute(asked('cut')) == 0
  assert len(calls) == 4 and 'resuming' in capsys.readouterr().err
  for file in (tmp_path / 'calm').rglob('*'):
    if file.is_file() and file.parent.name != 'results' and file.name != '.lock':
      place = tmp_path / 'cut' / file.relative_to(tmp_path / 'calm')
      assert place.read_bytes() == file.read_bytes(), file
