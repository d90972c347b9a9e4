"""Configurations compared: what differs is named, and digests differ where anything does."""

from tetris_jax.runs import identity

CONFIG = {
  'flags': {'model': 'toy', 'num_clicks': 3},
  'versions': {'jax': '1', 'python': '3.11'},
  'instances': {'count': 2},
}


def changed(**flags):
  return CONFIG | {'flags': CONFIG['flags'] | flags}


def test_differences_name_settings_and_no_flags():
  lines = identity.difference(CONFIG, changed(num_clicks=5))
  assert lines == ['num_clicks: 3 there, 5 now']
  assert identity.difference(CONFIG, changed(num_clicks=5), ('flags.num_clicks',)) == []


def test_a_digest_is_of_what_resuming_compares():
  same = CONFIG | {'versions': {'jax': '1', 'python': '3.12'}, 'instances': {'count': 3}}
  assert identity.digest(same) == identity.digest(CONFIG) == identity.digest(changed(zoom=None))
  assert identity.difference(CONFIG, changed(zoom=None)) == []
  for other in (changed(num_clicks=5), changed(zoom=1), CONFIG | {'versions': {'jax': '2'}}):
    assert identity.digest(other) != identity.digest(CONFIG)


def test_a_message_stays_short_and_on_its_lines():
  found = {f'a\n{number}': 'x' * 1000 for number in range(5000)}
  lines = identity.below(identity.difference(CONFIG, CONFIG | found)).splitlines()
  assert lines[-1] == '  and 4980 more' and len(lines) == 22
  assert lines[1].startswith("  'a\\n0': None there, 'xxx") and max(map(len, lines)) < 320
