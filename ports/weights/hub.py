"""Checkpoints by name from the Hugging Face hub, brought by its own client (the extra `hf`).

`hf:OWNER/NAME` is a repository, `hf:OWNER/NAME@REVISION` a branch, tag or commit of it, and
`hf:OWNER/NAME/FILE` one of its files. Without a file it is the one that the model's authors
publish, if it is there; else the only one in PyTorch's format; else `model.safetensors`. The client
keeps what it brings in a cache of its own, and resumes what was broken off.
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from ports.weights.errors import CheckpointError
from ports.weights.sources import say

__all__ = ['PREFIX', 'Address', 'Found', 'fetch', 'parse']

PREFIX = 'hf:'

_SAFETENSORS = 'model.safetensors'
_SECONDS = 30
_SHOWN = 5
_PATTERN = re.compile(
  r'hf:(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+?))?(/(?P<file>[^@]+\.\w+))?',
  re.ASCII,
)


class Address(NamedTuple):
  """What `hf:...` names.

  Attributes:
    repository: "owner/name".
    revision: branch, tag or commit; '' for the newest.
    file: path in the repository; '' for the one that fits.
  """

  repository: str
  revision: str
  file: str


class Found(NamedTuple):
  """A file of the hub on this machine.

  Attributes:
    path: in the client's cache.
    name: "hf:owner/name/file".
    sha256: of the file by the hub's account; None where it says none or was not asked.
  """

  path: pathlib.Path
  name: str
  sha256: str | None


def parse(text: str) -> Address:
  """The parts of `hf:OWNER/NAME[@REVISION][/FILE]`.

  Raises:
    CheckpointError: it is not of that form.
  """
  found = _PATTERN.fullmatch(text)
  if found is None or '..' in text:
    raise CheckpointError(
      f'{text}: expected hf:OWNER/NAME, such as hf:facebook/sam2.1-hiera-tiny, or '
      'hf:OWNER/NAME@REVISION/FILE'
    )
  return Address(found['repository'], found['revision'] or '', found['file'] or '')


def _client() -> Any:
  try:
    import huggingface_hub
    import huggingface_hub.errors
  except ImportError as error:
    raise CheckpointError(
      "weights of the Hugging Face hub are brought by its client, which is not installed: pip "
      "install 'tetris_jax[hf]', or download the file yourself and give its path"
    ) from error
  return huggingface_hub


def _pick(address: Address, original: str, files: Sequence[str]) -> str:
  """The file to take out of a repository that holds these."""
  for wanted in (address.file, original):
    if wanted in files:
      return wanted
  known = [f for f in files if f.lower().endswith(('.pt', '.pth', '.safetensors'))]
  shown = ', '.join(known[:_SHOWN]) or 'none'
  if address.file:
    raise CheckpointError(
      f'{PREFIX}{address.repository} has no file {address.file}; its checkpoints: {shown}'
    )
  torch = [f for f in known if not f.lower().endswith('.safetensors')]
  if len(torch) == 1:
    return torch[0]
  if _SAFETENSORS in known:
    return _SAFETENSORS
  raise CheckpointError(
    f'{PREFIX}{address.repository} has neither {original} nor {_SAFETENSORS}; its checkpoints: '
    f'{shown}. Name one as {PREFIX}{address.repository}/FILE'
  )


def _said(client: Any, address: Address, error: Exception) -> str:
  """What went wrong with the hub, and what to do."""
  errors = client.errors
  repository = f'{PREFIX}{address.repository}'
  if isinstance(error, errors.GatedRepoError):
    return (
      f'{repository} is open only to those who accept its terms on huggingface.co; do that, log in '
      'with "hf auth login", and try again'
    )
  if isinstance(error, errors.RepositoryNotFoundError):
    return (
      f'{repository}: the hub has no such repository, or a private one; check the name on '
      'huggingface.co'
    )
  if isinstance(error, errors.RevisionNotFoundError):
    return f'{repository} has no revision "{address.revision}"'
  first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
  return (
    f'{repository}: the hub could not be asked ({first}). Check the network, or download the file '
    'elsewhere and give its path'
  )


def _kept(client: Any, address: Address, original: str) -> Found | None:
  """What the client brought on another day, where the hub cannot be asked."""
  for file in filter(None, (address.file,) if address.file else (original, _SAFETENSORS)):
    path = client.try_to_load_from_cache(
      address.repository, file, revision=address.revision or None
    )
    if isinstance(path, str):
      say(f'{PREFIX}{address.repository}: the hub cannot be asked; {file} was brought before')
      return Found(pathlib.Path(path), f'{PREFIX}{address.repository}/{file}', None)
  return None


def fetch(text: str, original: str, max_bytes: int) -> Found:
  """Brings a checkpoint of the hub, or finds what was brought before.

  Args:
    text: `hf:...`, see the module.
    original: name of the file that the model's authors publish.
    max_bytes: a longer file is refused.

  Raises:
    CheckpointError: the client is not installed, there is no such repository, revision or file, it
      is too long, or the network is absent.
  """
  address = parse(text)
  client = _client()
  try:
    info = client.HfApi().model_info(
      address.repository,
      revision=address.revision or None,
      files_metadata=True,
      timeout=_SECONDS,
    )
    siblings = {sibling.rfilename: sibling for sibling in info.siblings or ()}
    file = _pick(address, original, list(siblings))
    size, lfs = siblings[file].size or 0, siblings[file].lfs
    name = f'{PREFIX}{address.repository}/{file}'
    if size > max_bytes:
      raise CheckpointError(f'{name}: more than {max_bytes} bytes; not the expected file')
    say(f'{name}: {size / 1e6:.0f} MB, commit {str(info.sha)[:12]}')
    path = client.hf_hub_download(address.repository, file, revision=info.sha)
  except CheckpointError:
    raise
  except Exception as error:
    # the client raises what its HTTP library does, which differs by version
    told = _said(client, address, error)
    unknown = isinstance(
      error, client.errors.RepositoryNotFoundError | client.errors.RevisionNotFoundError
    )
    found = None if unknown else _kept(client, address, original)
    if found is None:
      raise CheckpointError(told) from error
    return found
  return Found(pathlib.Path(path), name, getattr(lfs, 'sha256', None))
