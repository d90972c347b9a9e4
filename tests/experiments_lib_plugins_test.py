"""Modules of one's own: found in the working folder, and what goes wrong is told apart."""

import sys

import pytest

from experiments.lib import plugins
from experiments.lib.settings import UsageError


@pytest.fixture
def folder(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(sys, 'path', [*sys.path])
  monkeypatch.setattr(sys, 'modules', {**sys.modules})
  return tmp_path


def test_a_module_of_the_working_folder_is_imported_once(folder):
  (folder / 'one_plugin.py').write_text('import builtins\nbuiltins.seen_here = 1 + getattr('
                                        'builtins, "seen_here", 0)\n')
  import builtins

  plugins.load(['one_plugin'])
  plugins.load(['one_plugin'])
  assert builtins.seen_here == 1
  del builtins.seen_here
  # Behind all else, so that no folder of one's own hides a package.
  assert sys.path[-1] == str(folder)


def test_nothing_is_added_to_the_path_without_plugins(folder):
  before = [*sys.path]
  plugins.load(())
  assert sys.path == before


@pytest.mark.parametrize('name', ['no_such_plugin', 'no_such_package.plugin'])
def test_a_missing_module_is_named(folder, name):
  with pytest.raises(UsageError, match=f'--plugins={name}: there is no module no_such_p'):
    plugins.load([name])


@pytest.mark.parametrize('name', ['bad.py', '.', '', 'a-b', 'a..b'])
def test_what_is_no_name_of_a_module_is_refused(folder, name):
  with pytest.raises(UsageError, match='expected the name of a module'):
    plugins.load([name])


def test_what_a_module_raises_is_shown_whole(folder, capsys):
  (folder / 'raising_plugin.py').write_text('raise ValueError("taken")\n')
  with pytest.raises(UsageError, match='--plugins=raising_plugin: it raises ValueError: taken'):
    plugins.load(['raising_plugin'])
  said = capsys.readouterr().err
  assert said.startswith('Traceback') and 'raising_plugin.py' in said
  (folder / 'lacking_plugin.py').write_text('import no_such_dependency\n')
  with pytest.raises(UsageError, match=r'it raises ModuleNotFoundError: .*no_such_dependency'):
    plugins.load(['lacking_plugin'])
  (folder / 'broken_plugin.py').write_text('def (:\n')
  with pytest.raises(UsageError, match='it raises SyntaxError'):
    plugins.load(['broken_plugin'])
