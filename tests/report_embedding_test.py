"""Pages in one file: what is put in stays what it is."""

import io
import json

import pytest
from PIL import Image

from tetris_jax.report import embedding


def test_parts_take_their_places_and_no_others(tmp_path):
  template = tmp_path / 'page.html'
  template.write_text('<style>{{STYLE}}</style>{{DATA}}|{{MORE}}<script>{{HELPERS}}</script>')
  text = embedding.filled(template, {'DATA': '{{MORE}}', 'MORE': 'more'})
  assert '</style>{{MORE}}|more<script>' in text
  assert ':root {' in text and 'function element(' in text


def test_a_place_without_a_part_is_an_error(tmp_path):
  (tmp_path / 'page.html').write_text('{{NOTHING}}')
  with pytest.raises(KeyError):
    embedding.filled(tmp_path / 'page.html', {})


def test_no_text_ends_a_script_element():
  tree = {'</script>\udcff': ['<!--', 1.5, None, ('a',)]}
  text = embedding.as_data(tree)
  text.encode()
  assert '<' not in text
  assert json.loads(text) == {'</script>?': ['<!--', 1.5, None, ['a']]}
  with pytest.raises(ValueError):
    embedding.as_data(float('nan'))


def test_a_picture_is_no_wider_than_asked():
  import base64

  url = embedding.jpeg_url(Image.new('RGBA', (300, 100), 'red'), width=120)
  kind, _, held = url.partition(',')
  assert kind == 'data:image/jpeg;base64'
  assert Image.open(io.BytesIO(base64.b64decode(held))).size == (120, 40)
