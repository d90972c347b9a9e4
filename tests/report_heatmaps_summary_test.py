"""Work folders of heat maps: read, merged or refused, and their shares summed up."""

import json

import pytest
import runs

from tetris_jax.report.heatmaps import summary
from tetris_jax.runs import workdirs


@pytest.fixture
def maps(tmp_path):
  return runs.heatmap_folder(tmp_path / 'heat')


def test_heat_maps_come_with_the_shares_that_were_found(maps):
  read = summary.read_heatmaps(maps)
  assert list(read.pictures) == ['p1', 'p0']  # The wider range first.
  tetris, wide = summary.shares([read])
  assert tetris['share']['value'] == pytest.approx(0.25) and tetris['lowest'] == 0.1
  assert wide['share']['value'] == pytest.approx(0.65)  # 1.1 counts as 1.
  assert (tetris['model'], tetris['dataset'], tetris['share']['n']) == (
    'mobile_sam', 'davis_dev', 2
  )  # fmt: skip


def test_shards_of_heat_maps_merge_and_gaps_are_refused(maps, tmp_path):
  whole = summary.read_heatmaps(maps)
  rows = workdirs.read_rows(maps / 'rows.jsonl', 'heatmap')
  for number in range(2):  # The later instance is in the first shard.
    shard = tmp_path / 'cut' / f'shard-0000{number}-of-00002'
    row = rows[1 - number]
    runs.write_maps(shard, [row], (number, 2), ['p0', 'p1'])
    (shard / 'maps' / row['picture']).write_bytes((maps / 'maps' / row['picture']).read_bytes())
  read = summary.read_heatmaps(tmp_path / 'cut')
  assert [row['instance'] for row in read.rows] == ['p0', 'p1']
  assert list(read.pictures) == list(whole.pictures) == ['p1', 'p0']
  assert summary.shares([read]) == summary.shares([whole])
  with pytest.raises(workdirs.WorkdirError, match='shard 0 of 2 missing'):
    summary.read_heatmaps(shard)
  config = json.loads((shard / 'config.json').read_text())
  (shard / 'config.json').write_text(json.dumps(config | {'model': {'name': 'other'}}))
  with pytest.raises(workdirs.WorkdirError, match=r"model\.name: 'mobile_sam' there, 'other' now"):
    summary.read_heatmaps(tmp_path / 'cut')


def test_heat_maps_that_enter_no_mean_are_left_out_of_shares(maps):
  rows = workdirs.read_rows(maps / 'rows.jsonl', 'heatmap')
  rows[0] |= {'left_out': '3 positions for 900 legal pixels', 'picture': None}
  rows.append({'instance': 'p2', 'status': 'failed', 'reason': 'damaged', 'size': None})
  runs.write_maps(maps, rows)
  read = summary.read_heatmaps(maps)
  assert list(read.pictures) == ['p1'] and [row['instance'] for row in read.rows] == ['p0', 'p1']
  tetris, _ = summary.shares([read])
  assert tetris['share']['value'] == 0.4 and tetris['share']['n'] == 1
  nothing = summary.summarise([])
  assert nothing['n_ok'] == 0 and nothing['levels'] is None


def test_what_is_no_folder_of_heat_maps_is_refused(maps, tmp_path):
  (maps / 'maps' / '00001_p1.png').unlink()
  with pytest.raises(workdirs.WorkdirError, match=r'00001_p1.png is missing'):
    summary.read_heatmaps(maps)
  config = json.loads((maps / 'config.json').read_text())
  (maps / 'config.json').write_text(json.dumps(config | {'program': 'users'}))
  with pytest.raises(workdirs.WorkdirError, match=r'experiments\.users'):
    summary.read_heatmaps(maps)
  with pytest.raises(workdirs.WorkdirError, match=r'heatmaps: .* is no work folder'):
    summary.read_heatmaps(tmp_path)


def test_the_table_cuts_shares_at_one_and_names_what_it_counts():
  cell = lambda share: {'p': {'share_of_range': share, 'forward': 20, 'backward': 4}}
  rows = [
    {'status': 'ok', 'left_out': why, 'presets': cell(share)}
    for share, why in ((1.2, None), (0.5, None), (None, None), (0.1, 'few positions'))
  ]
  text = summary.share_table([*rows, {'status': 'failed'}], ['p'])
  assert '| p | 28 | 2 | 0.750 | 0.500 |' in text


def test_warnings_follow_the_table_where_rows_have_some():
  plain = runs.map_row(0, 0.1, 0.5, {'p': 0.5})
  text = summary.share_table([plain], ['p'])
  warned = summary.share_table([plain | {'warnings': ['the mask may be inverted']}], ['p'])
  assert warned.startswith(text) and 'Warnings' not in text
  assert '## Warnings' in warned and '| p0 | the mask may be inverted |' in warned
