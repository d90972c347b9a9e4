"""Drawing clicks, timed: every kind of map is there, and their memory is counted."""

import json

from experiments.lib import renderer


def test_the_renderer_is_timed_and_its_memory_counted():
  found = renderer.measure(1, side=64, num_clicks=3, num_trajectories=4)
  assert found['maps_mib'] == round(4 * 2 * 64 * 64 * 4 / 2**20, 1)
  for name in (
    'soft_disks_forward', 'soft_disks_value_and_grad', 'hard_disks_forward', 'distance_maps_forward'
  ):
    assert found[name]['seconds'] > 0 and found[name]['temporary_mib'] >= 0
  json.dumps(found, allow_nan=False)
