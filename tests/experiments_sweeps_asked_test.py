"""What a sweep is asked for: tables and flags to runs, and what is wrong with either by name."""

import pytest

from experiments.lib.settings import UsageError
from experiments.sweeps import asked

FILE = """
[all]
num_clicks = 5
[models.mobile_sam]
[models.mine]
model = "ritm_h18s_it_cl"
weights = "w.pth"
[datasets.berkeley]
data_dir = "/data/Berkeley"
[datasets.own]
dataset = "folder"
data_dir = "/data/own"
data_options = ["split=val"]
[presets.tetris]
"""


def read(folder, text):
  (folder / 's.toml').write_text(text)
  return asked.read(str(folder / 's.toml'))


def test_every_model_meets_every_data_set_and_preset(tmp_path):
  axes, common = read(tmp_path, FILE)
  runs = asked.runs(axes, {**common, 'users': 0}, 'runs/zoo')
  assert [run.workdir for run in runs] == [
    f'runs/zoo/{model}-{data}-tetris'
    for model in ('mobile_sam', 'mine') for data in ('berkeley', 'own')
  ]  # fmt: skip
  last = runs[-1]
  assert (last.model, last.weights, last.dataset) == ('ritm_h18s_it_cl', 'w.pth', 'folder')
  assert last.data_options == ('split=val',) and last.num_clicks == 5 and last.users == 0
  assert runs[0].data_dir == '/data/Berkeley' and runs[0].weights is None


def test_a_table_of_an_axis_overrides_what_all_have(tmp_path):
  axes, common = read(tmp_path, FILE.replace('[models.mobile_sam]', '[models.a]\nnum_clicks = 2'))
  assert [run.num_clicks for run in asked.runs(axes, common, 'w')] == [2, 2, 5, 5]


@pytest.mark.parametrize(('old', 'new', 'said'), [
  ('num_clicks = 5', 'num_clicks = "x"', "mobile_sam x berkeley x tetris: num_clicks is 'x'"),
  ('num_clicks = 5', 'num_click = 5', 'num_click is unknown'),
  ('num_clicks = 5', 'num_clicks = 0', '--num_clicks=0: expected at least 1'),
  ('num_clicks = 5', 'workdir = "w"', 'workdir is for the sweep itself to say'),
  ('weights = "w.pth"', 'data_dir = "d"', 'data_dir is asked for by another table too'),
  ('[presets.tetris]', '', '--presets names nothing, and neither does'),
  ('[all]', '[every]', 'every is unknown; expected'),
  ('[presets.tetris]', '[presets]\ntetris = 3', 'presets is no table'),
  ('[all]', '[all', 'is no TOML'),
])  # fmt: skip
def test_what_is_wrong_is_named(tmp_path, old, new, said):
  with pytest.raises(UsageError) as raised:
    asked.runs(*read(tmp_path, FILE.replace(old, new)), 'w')
  assert said in str(raised.value)


def test_a_file_that_is_not_there(tmp_path):
  with pytest.raises(UsageError, match=r'--file=.*none\.toml'):
    asked.read(str(tmp_path / 'none.toml'))
