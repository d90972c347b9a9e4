"""The page to explore maps: what it holds, that nothing breaks out, and how it behaves."""

import base64
import zlib

import explored
import numpy as np
import pytest
import runs as runs_lib
import user_runs
from report_comparison_page_test import HOSTILE, browse, held

from tetris_jax.report import pictures
from tetris_jax.report.heatmaps import explorer
from tetris_jax.runs import maps


def unpacked(text):
  return np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)


def attacked(instance, **changes):
  row = runs_lib.row(instance, 0.2, 0.5, 0.8) | {'size': list(explored.SIZE)}
  row['clicks'] = {mode: [[20.0, 30.0 + 9 * k, 1]] * 2 for k, mode in enumerate(row['iou'])}
  return row | changes


def test_the_page_holds_every_click_with_its_numbers_and_its_mask(tmp_path):
  one = explored.write(tmp_path, [explored.row(0), explored.row(1)])
  text = explorer.render(one)
  assert "default-src 'none'" in text and '{{' not in text
  made, found = explored.arrays(), held(text)
  assert [each['name'] for each in found['objects']] == ['p0', 'p1']
  first = found['objects'][0]
  np.testing.assert_array_equal(np.array(first['yx']).T, made['yx'])
  for key in ('iou', 'biou', 'predicted'):
    np.testing.assert_allclose(np.array(first[key]) / 1e4, made[key], atol=6e-5)
  masks = unpacked(first['masks']).reshape(len(made['yx']), -1)
  np.testing.assert_array_equal(np.bitwise_xor.accumulate(masks), made['masks'])
  legal = np.unpackbits(unpacked(first['legal']))[: made['legal'].size]
  np.testing.assert_array_equal(legal.reshape(made['legal'].shape), made['legal'])
  assert first['photo'].startswith('data:image/jpeg')
  # The robot user's click is of no lattice; the deepest of the others weighs most.
  distance = first['priors']['distance']
  assert distance[0] is None and max(distance[1:]) == 1000
  assert distance[1 + int(made['depth'][1:].argmax())] == 1000
  assert [preset['name'] for preset in first['presets']] == list(explored.PRESETS)
  assert first['presets'][0]['clicks']['min'][2] == pytest.approx(made['iou'].min(), abs=1e-4)


def test_what_other_runs_found_is_shown_where_it_belongs(tmp_path):
  one = explored.write(tmp_path, [explored.row(0), explored.row(1)])
  sampled = {'prior': 'distance', 'count': 2, 'auc': {}, 'iou': [[0.4, 0.6], [0.9, 0.9]]}
  sampled['first'] = [[20.0, 30.0], [21.0, 31.0]]
  rows = [attacked('p0', users=sampled), attacked('p1', size=[1, 2])]
  mine = runs_lib.make('mobile_sam', rows, preset='baseline')
  mine.rows[0]['iou'] = mine.rows[0]['iou'] | {'min': None, 'max': None}
  other = runs_lib.make('sam', [attacked('p0')], preset='tetris')
  same = runs_lib.make('mobile_sam', [attacked('p0')], preset='tetris')
  clicked = user_runs.row('p0', 0.5, file=user_runs.source([[13.0, 14.0]], [0.2]))
  clicked['size'] = list(explored.SIZE)
  users = user_runs.run(user_runs.config('mobile_sam'), [clicked])
  found = explorer.beside(one, [mine, other, same], [users])
  first, second = held(explorer.render(one, others=found))['objects']
  assert [preset['name'] for preset in first['presets']] == [
    *explored.PRESETS, 'baseline', 'tetris (attack)'
  ]  # fmt: skip
  assert list(first['presets'][2]['clicks']) == ['base']
  assert first['presets'][3]['clicks']['max'] == [20, 48, 0.8, 0.8]
  assert first['users'] == [
    {'name': 'file', 'clicks': [[13, 14, 0.2, 0.2]]},
    {'name': 'sampled by distance', 'clicks': [[20, 30, 0.4, None], [21, 31, 0.9, None]]},
  ]
  # Of another picture of that name nothing is shown.
  assert len(second['presets']) == 2 and second['users'] == []


def test_maps_without_masks_or_photographs_are_shown_without(tmp_path):
  one = explored.write(tmp_path, [explored.row(0)], photographs=False, masks=None, depth=None)
  (found,) = held(explorer.render(one))['objects']
  assert found['masks'] is None and found['photo'] is None and found['priors'] == {}


def test_a_damaged_map_is_left_out_and_said(tmp_path):
  one = explored.write(tmp_path, [explored.row(0), explored.row(1)])
  (tmp_path / 'maps' / '00000_p.npz').write_bytes(b'PK')
  said = []
  found = held(explorer.render(one, read=pictures.Reader(said.append)))
  assert [each['name'] for each in found['objects']] == ['p1'] and found['most'] == 2
  assert len(said) == 1 and '00000_p.npz is damaged' in said[0]


@pytest.mark.parametrize(('key', 'value'), [
  ('tetris/yx', np.zeros((2, 2))), ('tetris/iou', np.float32([0, np.nan, 0])),
  ('strong_v1/biou', np.zeros(())),
])
def test_a_map_of_other_shapes_or_numbers_is_damaged(tmp_path, key, value):
  one, said = explored.write(tmp_path, [explored.row(0)], **{key: value}), []
  assert explorer.render(one, read=pictures.Reader(said.append)) is None
  assert f'is damaged ({key} is no array' in said[0]


def test_pages_have_bounds(tmp_path, monkeypatch):
  one = explored.write(tmp_path, [explored.row(number) for number in range(3)])
  assert len(held(explorer.render(one, 2))['objects']) == 2
  assert explorer.render(one, 0) is None
  size = len(explorer.render(one, 2)) - len(explorer.render(one, 1))
  monkeypatch.setattr(explorer, 'MAX_BYTES', int(2.5 * size))
  assert len(held(explorer.render(one))['objects']) == 2


def test_several_pages_have_names_of_their_own(tmp_path):
  one = explored.write(tmp_path, [explored.row(0)])
  assert explorer.file_names([one]) == ['explorer.html']
  assert explorer.file_names([one, one]) == [
    'explorer-mobile_sam-dev.html', 'explorer-mobile_sam-dev-2.html'
  ]  # fmt: skip


def hostile(folder):
  rows = [explored.row(0, instance=HOSTILE, warnings=[HOSTILE])]
  one = explored.write(folder, rows)
  found = explorer.Beside(
    {HOSTILE: {HOSTILE: attacked(HOSTILE)}},
    {HOSTILE: {'users': {HOSTILE: user_runs.source([[13.0, 14.0]], [0.2])}}},
  )
  return explorer.render(one, others=found)


def test_hostile_names_stay_texts(tmp_path):
  text = hostile(tmp_path)
  text.encode()
  assert text.count('<script') == 2 and text.count('<img') == 2 and '</script><script>' not in text


LISTEN_FOR = """
const shown = () => document.body.hasAttribute('data-shown');
const waited = async (done) => { while (!done()) await new Promise((go) => setTimeout(go, 20)); };
const text = (id) => document.getElementById(id).textContent;
const numbers = () => ['place', 'iou', 'biou', 'predicted', 'prior'].map(text);
const pixels = (view) => {
  const canvas = document.querySelector(`#${view} canvas`);
  return canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
};
// Share of the picture's pixels that the model's mask covers, but for outline and ring.
const covered = () => {
  const {data, width, height} = pixels('answer');
  let count = 0;
  for (let i = 0; i < data.length; i += 4) {
    count += data[i] < 8 && data[i + 2] > 160 && data[i + 3] > 75;
  }
  return count / (width * height);
};
const looks = (view) => pixels(view).data
  .reduce((sum, one, i) => (sum * 31 + one * (i % 97)) % 1e9, 7);
const point = (type, view, y, x) => {
  const place = document.getElementById(view);
  const box = place.getBoundingClientRect();
  place.dispatchEvent(new PointerEvent(type, {bubbles: true,
    clientX: box.left + (x + 0.5) / SIZE[1] * box.width,
    clientY: box.top + (y + 0.5) / SIZE[0] * box.height}));
};
const press = (key) => document.getElementById('map')
  .dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true, cancelable: true}));
const pick = (id, value) => {
  document.getElementById(id).value = value;
  document.getElementById(id).dispatchEvent(new Event('change'));
};
"""
TRIAL = (
  """
<script>
const SIZE = [60, 90];
"""
  + LISTEN_FOR
  + """
(async () => {
  const report = {errors: window.trialErrors};
  await waited(shown);
  report.start = [numbers(), covered(), looks('map')];
  point('pointermove', 'map', 34, 68);
  report.hovered = [numbers(), covered(), looks('map')];
  point('pointermove', 'answer', 14, 16);
  report.other = [numbers(), covered()];
  point('pointerleave', 'map', 0, 0);
  report.left = [numbers()[0], covered()];
  point('pointerdown', 'map', 34, 68);
  point('pointermove', 'map', 14, 16);
  point('pointerleave', 'map', 0, 0);
  report.kept = numbers()[0];
  press('ArrowLeft');
  report.arrow = numbers()[0];
  press('ArrowUp');
  report.arrows = numbers()[0];
  press('Home');
  report.home = numbers()[0];
  report.layers = [...document.getElementById('layer').options].map((one) => one.textContent);
  const drawn = [];
  for (const {value} of document.getElementById('layer').options) {
    pick('layer', value);
    drawn.push([text('low'), text('high'), looks('map')]);
  }
  report.drawn = drawn;
  press('2');
  report.second = document.getElementById('layer').value;
  pick('layer', 'iou');
  report.found = text('found');
  pick('preset', '0');
  report.other_preset = text('found');
  pick('preset', '');
  report.nothing = [text('found'), looks('map')];
  pick('users', '0');
  report.users = [text('found'), looks('map')];
  press('PageDown');
  await waited(shown);
  report.next = [document.getElementById('object').value, text('lead')];
  report.wide = [document.documentElement.scrollWidth, window.innerWidth];
  report.images = [...document.images].map((one) => one.naturalWidth);
  report.canvas = document.querySelector('#map canvas').width;
  document.body.setAttribute('data-trial', JSON.stringify(report));
})();
</script>
"""
)


@pytest.mark.browser
@pytest.mark.parametrize('width', [1280, 500])
def test_the_page_works_in_a_browser(tmp_path, width):
  one = explored.write(tmp_path, [explored.row(0), explored.row(1)])
  clicks = user_runs.source([[20.0, 30.0], [20.0, 40.0]], [0.2, 0.6])
  text = explorer.render(one, others=explorer.Beside({}, {'p0': {'users': {'file': clicks}}}))
  found = browse(text, tmp_path, width, TRIAL)
  assert found['errors'] == []
  made = explored.arrays()
  at = {tuple(place): number for number, place in enumerate(made['yx'].astype(int).tolist())}

  def check(numbers, covered, place):
    number = at[place]
    assert numbers[0] == f'{place[0]}, {place[1]}'
    scores = [float(text) for text in numbers[1:4]]
    expected = [made[key][number] for key in ('iou', 'biou', 'predicted')]
    np.testing.assert_allclose(scores, expected, atol=6e-4)
    # The ring and the outline hide some of it.
    assert covered == pytest.approx(explored.answer(*place).mean(), abs=0.045)

  check(*found['start'][:2], (29, 44))
  check(*found['hovered'][:2], (33, 69))
  check(*found['other'], (15, 15))
  assert found['hovered'][2] != found['start'][2]
  assert found['start'][0][4] == '-' and float(found['hovered'][0][4]) > 0
  assert found['hovered'][1] > 2 * found['other'][1] > 0
  assert found['left'] == ['29, 44', found['start'][1]]
  assert found['kept'] == '33, 69' and found['home'] == '29, 44'
  assert found['arrow'] == '33, 63' and found['arrows'] == '27, 63'
  assert found['layers'][:5] == [
    'IoU', 'Boundary IoU', 'Predicted IoU', 'Prior: uniform', 'Prior: border distance'
  ]  # fmt: skip
  low, high = made['iou'][1:].min(), made['iou'].max()
  assert [float(text) for text in found['drawn'][0][:2]] == pytest.approx([low, high], abs=0.006)
  assert found['drawn'][4][:2] == ['0.00', '1.00']
  assert len({looks for *_, looks in found['drawn'][:5]}) == 5
  assert found['second'] == 'biou'
  assert found['found'].startswith('strong_v1: IoU of MIN 0.165, BASE 0.469, MAX 0.73')
  assert found['found'].endswith('; share of the true range 0.50.')
  assert found['other_preset'].startswith('tetris: ')
  assert found['nothing'][0] == ''
  assert found['users'][0] == 'file: 2 clicks, mean IoU 0.400, 1 below 0.5.'
  assert found['users'][1] != found['nothing'][1]
  assert found['next'] == ['1', 'mobile_sam on dev: 2 objects.']
  assert found['wide'][0] <= found['wide'][1] and found['images'] == [90, 90]
  assert found['canvas'] > 200


HOSTILE_TRIAL = (
  '<script>'
  + LISTEN_FOR
  + """
(async () => {
  const report = {errors: window.trialErrors};
  await waited(shown);
  for (const id of ['preset', 'users']) pick(id, '0');
  report.hacked = window.hacked ?? null;
  report.scripts = document.scripts.length;
  report.images = [...document.images].map((one) => new URL(one.src).protocol);
  report.links = document.links.length;
  report.title = document.title;
  report.notes = text('notes');
  document.body.setAttribute('data-trial', JSON.stringify(report));
})();
</script>
"""
)


@pytest.mark.browser
def test_hostile_names_do_nothing_in_a_browser(tmp_path):
  found = browse(hostile(tmp_path), tmp_path, 1000, HOSTILE_TRIAL)
  assert found['errors'] == [] and found['hacked'] is None
  assert found['scripts'] == 4 and found['links'] == 0  # Two are the test's.
  assert found['images'] == ['data:', 'data:'] and found['title'] == 'Where a click leads'
  assert 'alert(1)' in found['notes']


@pytest.mark.browser
def test_a_page_without_masks_says_so(tmp_path):
  one = explored.write(tmp_path, [explored.row(0)], photographs=False, masks=None, depth=None)
  trial = f"""<script>{LISTEN_FOR}
  (async () => {{
    await waited(shown);
    document.body.setAttribute('data-trial', JSON.stringify(
      {{errors: window.trialErrors, said: text('answered'), numbers: numbers()}}));
  }})();
  </script>"""
  found = browse(explorer.render(one), tmp_path, 800, trial)
  assert found['errors'] == [] and found['said'] == 'This run kept no masks.'
  assert found['numbers'][:2] == ['29, 44', '0.469'] and found['numbers'][4] == '-'


def test_what_a_map_keeps_is_as_large_as_it_says():
  assert explored.arrays()['masks'].shape[1] == maps.MASK_SIDE**2 // 8
