"""The site: its pages find what they include, tell all that there is, and the notebook runs."""

import dataclasses
import importlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tomllib

import pytest

import tetris_jax

TOP = pathlib.Path(__file__).parents[1]
DOCS = TOP / 'docs'
NOTEBOOK = TOP / 'examples' / 'first_attack.ipynb'
PAGES = sorted(str(file.relative_to(DOCS)) for file in DOCS.rglob('*.md'))


@pytest.fixture(scope='module')
def hooks():
  """The modules that mkdocs is given, which are no package."""
  sys.path.insert(0, str(DOCS / 'hooks'))
  try:
    yield importlib.import_module('texts'), importlib.import_module('makers')
  finally:
    sys.path.remove(str(DOCS / 'hooks'))


TEXT = """# Title
Before.
## One
```sh
# no heading
## none either
```
### Part
Inside.
## Two
Last.
"""


def test_a_section_ends_where_the_next_begins(hooks):
  texts, _ = hooks
  assert texts.section(TEXT, '') == 'Before.\n'
  assert texts.section(TEXT, 'Two') == 'Last.\n'
  one = texts.section(TEXT, 'One')
  assert one.startswith('```sh\n# no heading\n## none either\n```\n## Part\n')
  assert one.endswith('Inside.\n')
  assert texts.section(TEXT, 'Part') == 'Inside.\n'


@pytest.mark.parametrize(('title', 'found'), [('Three', 0), ('no heading', 0), ('Two', 2)])
def test_a_section_is_there_once(hooks, title, found):
  texts, _ = hooks
  with pytest.raises(texts.TextError, match=f'found {found} times'):
    texts.section(TEXT + '## Two\n', title)


def test_links_lead_to_pages_of_the_site(hooks, tmp_path):
  texts, _ = hooks
  (tmp_path / 'docs').mkdir()
  for name in ('BUILD.md', 'LICENSE', 'docs/measurements.md'):
    (tmp_path / name).touch()
  moved = lambda text, source, page: texts.relinked(text, source, page, tmp_path)
  assert moved('[a](BUILD.md#x)', 'README.md', 'index.md') == '[a](design.md#x)'
  assert moved('[a](BUILD.md)', 'README.md', 'python/kernel.md') == '[a](../design.md)'
  assert moved('[a](../BUILD.md)', 'docs/b.md', 'b.md') == '[a](design.md)'
  assert moved('[`m`](docs/measurements.md)', 'README.md', 'a.md') == '[`m`](measurements.md)'
  assert moved('[a](LICENSE), so', 'README.md', 'index.md') == 'a, so'
  # Pages link to pages as they lie in the site, also to those that are brought in.
  assert moved('[a](measurements.md#x)', 'docs/b.md', 'b.md') == '[a](measurements.md#x)'
  assert moved('[a](../design.md)', 'docs/c/b.md', 'c/b.md') == '[a](../design.md)'
  assert moved('[`a`](../LICENSE) so', 'docs/b.md', 'b.md') == '`a` so'
  (tmp_path / 'docs' / 'c.csv').touch()
  assert moved('[a](c.csv)', 'docs/b.md', 'b.md') == '[a](c.csv)'
  assert moved('![a](c.png), ![b](LICENSE)', 'docs/b.md', 'b.md') == '![a](c.png), ![b](LICENSE)'
  for kept in ('[a](https://b.c/d)', '[a](#here)', '```\n[a](gone)\n```'):
    assert moved(kept, 'README.md', 'index.md') == kept
  with pytest.raises(texts.TextError, match=r'README\.md links to gone'):
    moved('[a](gone)', 'README.md', 'index.md')
  with pytest.raises(texts.TextError, match=r'docs/b\.md links to gone\.md'):
    moved('[a](gone.md)', 'docs/b.md', 'b.md')


@pytest.mark.parametrize('page', PAGES)
def test_a_page_finds_what_it_includes(hooks, page):
  texts, makers = hooks
  written = (DOCS / page).read_text('utf-8')
  stubs = {name: str for name in makers.MAKERS}
  text = texts.included(written, page, TOP, stubs)
  assert not texts.DIRECTIVE.search(text)
  # A directive with a slip is a comment that nobody sees.
  assert written.count('<!-- ') == len(texts.DIRECTIVE.findall(written))
  assert re.search(r'^# \S', text, re.MULTILINE), 'a page has a title'


def test_an_unknown_directive_is_told(hooks):
  texts, _ = hooks
  with pytest.raises(texts.TextError, match=r"p\.md: nothing makes 'x'"):
    texts.included('<!-- make: x -->', 'p.md', TOP, {})
  with pytest.raises(texts.TextError, match=r'p\.md includes gone\.md, which does not exist'):
    texts.included('<!-- include: gone.md -->', 'p.md', TOP, {})


def test_every_page_is_in_the_navigation():
  listed = re.findall(r'^ +- .*: (\S+\.(?:md|ipynb))$', (TOP / 'mkdocs.yml').read_text(), re.M)
  assert sorted(listed) == sorted([*PAGES, NOTEBOOK.name])


def test_every_public_name_has_an_entry(hooks):
  _, makers = hooks
  text = makers.kernel()
  for name in tetris_jax.__all__:
    assert f'heading: tetris_jax.{name}\n' in text or f'`tetris_jax.{name}`' in text


def test_every_model_metric_preset_and_option_is_told(hooks):
  from ports import zoo
  from tetris_jax import data
  from tetris_jax.scores import table

  _, makers = hooks
  models = makers.models()
  assert all(models.count(f'| `{name}` |') >= 4 for name in zoo.names())
  assert all(f'`{name}`' in makers.metrics() for name in table.METRICS)
  searches = {name: one for name, one in tetris_jax.presets.PRESETS.items() if one.search}
  assert all(f' `{name}` ' in makers.presets() for name in searches)
  options = [(name, one) for name in data.names() for one in data.options_of(name)]
  assert options and all(f'| `{name}` | `{one}` |' in makers.datasets() for name, one in options)


@pytest.mark.slow
def test_every_program_and_flag_is_told(hooks):
  from experiments.lib import cli

  _, makers = hooks
  text = makers.programs()
  for name in cli.PROGRAMS:
    assert f'\n## {name}\n' in text
    for field in dataclasses.fields(importlib.import_module(f'experiments.{name}').Settings):
      assert f'\n`--{field.name}`\n:   ' in text
  assert 'Default: `mobile_sam`.' in text
  linked = set(re.findall(r'\(#(flags-[\w-]+)\)', text))
  assert linked and linked == set(re.findall(r'\{ #(flags-[\w-]+) \}', text))


def test_every_extra_is_explained():
  project = tomllib.loads((TOP / 'pyproject.toml').read_text('utf-8'))['project']
  start = (DOCS / 'start.md').read_text('utf-8')
  explained = {one for group in re.findall(r'`\.\[([\w,]+)\]`', start) for one in group.split(',')}
  assert explained == set(project['optional-dependencies'])


def cells(notebook):
  return [cell for cell in notebook['cells'] if cell['cell_type'] == 'code']


def pictures(notebook):
  outputs = [output for cell in cells(notebook) for output in cell['outputs']]
  return sum('image/png' in output.get('data', ()) for output in outputs)


def printed(notebook):
  return ''.join(
    ''.join(output['text'])
    for cell in cells(notebook)
    for output in cell['outputs']
    if output.get('name') == 'stdout'
  )


def test_the_notebook_is_kept_without_outputs():
  notebook = json.loads(NOTEBOOK.read_text('utf-8'))
  assert all(cell['outputs'] == [] and cell['execution_count'] is None for cell in cells(notebook))


def executed(**environment):
  """The notebook as a fresh kernel leaves it, with the optimisations that tests do without."""
  nbformat, nbclient = pytest.importorskip('nbformat'), pytest.importorskip('nbclient')
  notebook = nbformat.read(NOTEBOOK, 4)
  kept = {name: value for name, value in os.environ.items() if name != 'XLA_FLAGS'}
  client = nbclient.NotebookClient(
    notebook, timeout=1800, allow_errors=False, resources={'metadata': {'path': str(TOP)}}
  )
  try:
    client.execute(env={**kept, 'PYTHONPATH': str(TOP), **environment})
  except nbclient.exceptions.CellExecutionError as error:
    return notebook, error
  return notebook, None


@pytest.mark.slow
@pytest.mark.parity
def test_the_notebook_runs():
  notebook, error = executed()
  assert error is None
  assert pictures(notebook) == 4
  number = r'(\d+\.\d)'
  found = re.search(rf'tetris: MIN {number}, BASE {number}, MAX {number}', printed(notebook))
  low, base, high = map(float, found.groups())
  # Searches end elsewhere where rounding does; the robot user's click is the same anywhere.
  assert low <= base <= high and base == pytest.approx(44.6, abs=0.2)
  if kept := os.environ.get('EXECUTED_NOTEBOOK'):  # The site shows it.
    pathlib.Path(kept).parent.mkdir(exist_ok=True)
    pathlib.Path(kept).write_text(json.dumps(notebook), 'utf-8')


@pytest.mark.slow
def test_the_notebook_stops_where_weights_cannot_be_had(tmp_path):
  notebook, error = executed(
    TETRIS_CACHE=str(tmp_path / 'cache'), PATH=str(tmp_path), PIP_NO_INDEX='1', PIP_CONFIG_FILE=''
  )
  assert error is not None and error.ename == 'SystemExit'
  assert 'MobileSAM cannot be had' in error.evalue
  ran = [cell for cell in cells(notebook) if cell['execution_count'] is not None]
  assert len(ran) < len(cells(notebook)) and pictures(notebook) == 1


@pytest.mark.slow
def test_the_site_is_built_strictly_and_loads_nothing_from_elsewhere(tmp_path):
  pytest.importorskip('mkdocs_jupyter')
  pytest.importorskip('mkdocstrings_handlers.python')
  command = [sys.executable, '-m', 'mkdocs', 'build', '--strict', '-d', str(tmp_path)]
  made = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
  assert made.returncode == 0, made.stderr
  for page in [*PAGES, NOTEBOOK.name]:
    text = (tmp_path / page).with_suffix('.html').read_text('utf-8')
    loaded = re.findall(r'<(?:script|img|iframe)[^>]*\ssrc="(\w+:[^"]*)"', text)
    loaded += re.findall(r'<link[^>]*rel="stylesheet"[^>]*href="(\w+:[^"]*)"', text)
    assert not [one for one in loaded if not one.startswith('data:')], page
  kernel = (tmp_path / 'python' / 'kernel.html').read_text('utf-8')
  assert 'id="tetris_jax.attack.attack"' in kernel
