"""A device that is not there is one sentence, before a folder is made, and no other error is."""

import logging
import os
import pathlib
import subprocess
import sys

import jax
import pytest

from experiments.lib import devices
from experiments.lib.settings import UsageError

ROOT = pathlib.Path(devices.__file__).parents[2]


def test_devices_that_are_there_are_no_error():
  devices.check()


def test_too_little_address_space_is_one_sentence(monkeypatch, capsys):
  monkeypatch.setattr(devices.memory, 'narrow', lambda: (True, '1.0 GB are left'))
  with pytest.raises(UsageError, match=r'^1\.0 GB are left$'):
    devices.check()
  monkeypatch.setattr(devices.memory, 'narrow', lambda: (False, '2.0 GB are left'))
  devices.check()
  assert capsys.readouterr().err == 'warning: 2.0 GB are left\n'


@pytest.mark.parametrize(('error', 'why'), [
  (AssertionError(), '(no such device is visible); available: cpu'),
  (
    RuntimeError(
      "Unable to initialize backend 'x': no\ndriver. (set JAX_PLATFORMS='' to automatically choose)"
    ),
    "(Unable to initialize backend 'x': no driver); available: cpu",
  ),
])
def test_what_jax_raises_is_one_sentence(monkeypatch, error, why):
  asked, whole = jax.config.values['jax_platforms'], jax.devices
  calls = []

  def refuse():
    calls.append(jax.config.values['jax_platforms'])
    if len(calls) == 1:
      raise error
    return whole()

  monkeypatch.setattr(jax, 'devices', refuse)
  with pytest.raises(UsageError) as raised:
    devices.check()
  assert why in str(raised.value) and '\n' not in str(raised.value)
  assert 'JAX_PLATFORMS=cpu' in str(raised.value)
  assert calls == [asked, None] and jax.config.values['jax_platforms'] == asked


def test_a_broken_plugin_is_told_with_a_way_out(monkeypatch):
  def refuse():
    raise RuntimeError("Unable to initialize backend 'cuda': no driver (you may need to uninstall")

  monkeypatch.setattr(jax, 'devices', refuse)
  monkeypatch.setattr(devices, '_asked', dict)
  with pytest.raises(UsageError, match=r'JAX has no device .*no driver.*Set JAX_PLATFORMS=cpu'):
    devices.check()


def test_a_plugin_that_cannot_be_loaded_is_a_line_without_traceback(monkeypatch, caplog):
  logger = logging.getLogger('jax._src.xla_bridge')

  def log():
    try:
      raise RuntimeError('version mismatch')
    except RuntimeError:
      logger.exception('Exception when calling %s', 'jax_plugins.x')

  monkeypatch.setattr(jax, 'devices', log)
  devices.check()
  log()
  inside, outside = caplog.records
  assert inside.getMessage() == 'Exception when calling jax_plugins.x: version mismatch'
  assert inside.exc_info is None and outside.exc_info is not None


def test_the_older_variable_is_named_where_it_asks(monkeypatch):
  monkeypatch.setattr(devices, '_asked', lambda: {'JAX_PLATFORM_NAME': 'gpu'})
  monkeypatch.setattr(devices, '_available', lambda: 'tpu, cpu')

  def refuse():
    raise RuntimeError("Unknown backend: 'gpu' requested")

  monkeypatch.setattr(jax, 'devices', refuse)
  with pytest.raises(UsageError, match=r"^JAX_PLATFORM_NAME=gpu: .*Set JAX_PLATFORM_NAME=tpu"):
    devices.check()


def test_other_errors_are_not_swallowed(monkeypatch):
  def refuse():
    raise KeyError('x')

  monkeypatch.setattr(jax, 'devices', refuse)
  with pytest.raises(KeyError):
    devices.check()


@pytest.mark.slow
@pytest.mark.parametrize(('program', 'platforms'), [
  *((program, 'nonsense') for program in ('users', 'heatmap', 'bench', 'replay', 'fetch')),
  *(('attack', platforms) for platforms in ('cuda', 'tpu', 'nonsense', 'cpu,nonsense')),
])
@pytest.mark.skipif(jax.default_backend() != 'cpu', reason='there is an accelerator')
def test_every_program_ends_with_2_before_it_makes_a_folder(tmp_path, program, platforms):
  done = subprocess.run(
    [sys.executable, '-m', f'experiments.{program}'], cwd=tmp_path, capture_output=True, text=True,
    env=os.environ | {'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': platforms}, check=False,
  )  # fmt: skip
  assert done.returncode == 2 and done.stdout == ''
  start, _, last = done.stderr.strip().splitlines()
  assert start == f'{program}: starting'
  assert last.startswith(f'error: JAX_PLATFORMS={platforms}: JAX has no such device here (')
  assert 'available: cpu. Set JAX_PLATFORMS=cpu' in last
  assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_what_needs_no_device_asks_for_none(tmp_path):
  done = subprocess.run(
    [sys.executable, '-m', 'experiments.report', '--workdirs=none'], cwd=tmp_path,
    capture_output=True, text=True, check=False,
    env=os.environ | {'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'tpu'},
  )  # fmt: skip
  assert done.returncode == 2 and 'none is no work folder' in done.stderr
