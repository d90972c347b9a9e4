"""Names and numbers that people and programs write for an instance."""

import unicodedata

import pytest

from tetris_jax.data import click_owners

NAMES = ('a', 'b.v2', 'dir/c', 'm\u00fcll', 'many#3', 'many#7', 'one#5', '000139', 'x.png', 'x')


@pytest.mark.parametrize(
  ('written', 'instance', 'folder'),
  [
    ('a', 'a', ''),
    ('a.png', 'a', ''),
    ('a.JPG', 'a', ''),
    ('b.v2', 'b.v2', ''),
    ('b.v2.jpeg', 'b.v2', ''),
    ('x.png', 'x.png', ''),
    ('x.jpg', 'x', ''),
    ('dir/c.tif', 'dir/c', ''),
    ('images/a.png', 'a', 'images'),
    ('C:\\data\\images\\a.png', 'a', 'C:/data/images'),
    ('many#7', 'many#7', ''),
    ('many.png#7', 'many#7', ''),
    ('one', 'one#5', ''),
    ('images/one.png', 'one#5', 'images'),
    (unicodedata.normalize('NFD', 'm\u00fcll'), 'm\u00fcll', ''),
    ('many', None, ''),
    ('many#4', None, ''),
    ('A', None, ''),
    ('b', None, ''),
    ('a.txt', None, ''),
    ('139', None, ''),
  ],
)
def test_what_is_meant_by_a_name(written, instance, folder):
  assert click_owners.Owners(NAMES).named(written) == (instance, folder)


@pytest.mark.parametrize(
  ('written', 'part'),
  [
    ('many', "2 objects: 'many#3', 'many#7'"),
    ('139', "such as '000139'; did a spreadsheet take its zeros?"),
    ('mny#3', "such as 'many#3'"),
    ('?', "such as 'a', 'b.v2'"),
  ],
)
def test_what_a_name_might_have_been(written, part):
  assert part in click_owners.Owners(NAMES).advice(written)
  assert click_owners.Owners(()).advice(written) == ''


def test_red_and_blue_are_exchanged():
  assert click_owners.mirrored(0x123456) == 0x563412
  assert click_owners.mirrored(0xFF0000) == 0xFF
  assert click_owners.mirrored(7 * 65793) == 7 * 65793
  assert click_owners.mirrored(256**3) is None and click_owners.mirrored(-1) is None


@pytest.mark.parametrize(
  ('full', 'number', 'published', 'own'),
  [
    ('p_______255', '', 'p#16711680', 'p#255'),
    ('p_______255', '255', 'p#16711680', 'p#255'),
    ('p_______255', '255.0', 'p#16711680', 'p#255'),
    ('p', '255', 'p#16711680', 'p#255'),
    ('p_______256', '', 'p#256', 'p#256'),
    ('p_______5', '', None, 'p#5'),
    ('p_______9', '', None, None),
    ('p_______255', '16711680', None, None),
    ('p_______red', '', None, None),
    # Grey maps: by their level, which is a colour of three like channels in RClicks.
    ('g_______131586', '', 'g#2', None),
    ('g_______2', '', None, 'g#2'),
    # Picture p has colours, and its 5 is no level.
    ('p_______328965', '', None, None),
    # Without a number: the one object, or a stem that is an instance.
    ('s', '', 's#9', 's#9'),
    ('p', '', None, None),
    ('t_______1', '', 't_______1', 't_______1'),
    ('gone_______1', '', None, None),
    # Numbers of files are names, too.
    ('k_______001', '', None, 'k#001'),
  ],
)
def test_what_a_row_of_rclicks_may_mean(full, number, published, own):
  names = ['p#16711680', 'p#255', 'p#256', 'p#5', 'g#1', 'g#2', 's#9', 't_______1', 'k#001']
  found = click_owners.Owners(names).numbered(full, number)
  assert (found.published, found.own) == (published, own)


def test_rows_of_rclicks_name_pictures_in_any_unicode_form():
  composed, decomposed = (unicodedata.normalize(form, 'm\u00fcll') for form in ('NFC', 'NFD'))
  for known, written in ((composed, decomposed), (decomposed, composed)):
    owners = click_owners.Owners([f'{known}#255', f'{known}#16711680', f'a{known}', f'b{known}#3'])
    assert owners.numbered(f'{written}_______255', '255').published == f'{known}#16711680'
    assert owners.numbered(f'a{written}', '').published == f'a{known}'
    assert owners.numbered(f'b{written}', '').published == f'b{known}#3'
    assert owners.named(f'b{written}.png') == (f'b{known}#3', '')
    assert f"2 objects: '{known}#255'" in owners.advice(f'{written}.png')


def test_a_row_of_rclicks_without_a_number_says_nothing_where_there_are_several():
  found = click_owners.Owners(['p#1', 'p#2']).numbered('p', '')
  assert found.reason == 'whose picture has several objects, of which they name none'
