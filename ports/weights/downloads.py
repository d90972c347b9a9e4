"""Files at public addresses: what a broken download has brought is kept, and the rest is asked for.

Beside the file that is being filled, `NAME.part`, lies `NAME.part.json` with the address and what
the server said of the file: its length and its mark (ETag, or else the time of its last change).
Only where all of that is still so is the rest appended.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import pathlib
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from typing import IO, Any

from ports.weights.errors import CheckpointError
from ports.weights.sources import say

__all__ = ['download']

_READ_SECONDS = 30
# Connections that end early are taken up again as long as each brings something, and so often.
_TRIES = 5
_BLOCK = 1 << 18
_LOOPBACK = ('127.0.0.1', '::1', 'localhost')


def _is_loopback(url: str) -> bool:
  try:
    return urllib.parse.urlsplit(url).hostname in _LOOPBACK
  except ValueError:
    return False


def _check_address(url: str, first: str) -> None:
  """Raises CheckpointError unless what is at `url` can be trusted to come unchanged."""
  if url.startswith('https://'):
    return
  if url.startswith('http://') and _is_loopback(url) and _is_loopback(first):
    return
  leads = f'{first} leads to {url}' if url != first else url
  raise CheckpointError(f'{leads}: only https addresses are fetched')


def _mark(headers: Mapping[str, str]) -> str:
  """What changes where the file does; '' where the server says nothing of the kind."""
  etag = headers.get('ETag') or ''
  # A weak tag may stay where bytes differ.
  return etag if etag and not etag.startswith('W/') else headers.get('Last-Modified') or ''


def _noted(part: pathlib.Path, url: str) -> tuple[int, str, int]:
  """(bytes that are there, mark, length of the whole), zeros where it cannot be taken up."""
  try:
    noted = json.loads(part.with_name(f'{part.name}.json').read_text())
    got = part.stat().st_size
    mark, length = noted['mark'], noted['length']
    usable = noted['url'] == url and isinstance(mark, str) and type(length) is int
  except (OSError, ValueError, KeyError, TypeError):
    return 0, '', 0
  return (got, mark, length) if usable and mark and 0 < got < length else (0, '', 0)


def _request(url: str, got: int, mark: str) -> urllib.request.Request:
  headers = {'Accept-Encoding': 'identity'}
  if got:
    headers |= {'Range': f'bytes={got}-', 'If-Range': mark}
  return urllib.request.Request(url, headers=headers)


def _continues(response: Any, got: int, mark: str, length: int) -> bool:
  """Whether the answer is the rest of the file that was begun."""
  found = re.fullmatch(r'bytes (\d+)-(\d+)/(\d+)', response.headers.get('Content-Range') or '')
  if response.status != 206 or found is None or _mark(response.headers) != mark:
    return False
  return tuple(map(int, found.groups())) == (got, length - 1, length)


@contextlib.contextmanager
def _locked(part: pathlib.Path) -> Iterator[IO[bytes]]:
  """The open file; raises CheckpointError where another process is filling it."""
  with part.open('ab') as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      raise CheckpointError(
        f'another process is downloading {part.name.removesuffix(".part")} already; try again when '
        'it is done'
      ) from error
    yield file


def _receive(url: str, part: pathlib.Path, file: IO[bytes], max_bytes: int) -> bool:
  """Appends what one connection brings; whether the file is whole then."""
  got, mark, length = _noted(part, url)
  request = _request(url, got, mark)
  try:
    response = urllib.request.urlopen(request, timeout=_READ_SECONDS)
  except urllib.error.HTTPError as error:
    if not got or error.code not in (412, 416):
      raise
    # there is no such rest: the file was changed
    got = 0
    response = urllib.request.urlopen(_request(url, 0, ''), timeout=_READ_SECONDS)
  with response:
    _check_address(response.url, url)
    if got and response.status == 206 and not _continues(response, got, mark, length):
      file.truncate(0)
      return False
    if got and response.status == 206:
      say(f'  going on behind {got / 1e6:.1f} of {length / 1e6:.1f} MB')
    else:
      got, length = 0, int(response.headers.get('Content-Length') or 0)
      file.truncate(0)
      _refuse_long(url, length, max_bytes)
      noted = {'url': url, 'mark': _mark(response.headers), 'length': length}
      part.with_name(f'{part.name}.json').write_text(json.dumps(noted))
    told = time.monotonic()
    while block := response.read(_BLOCK):
      got += len(block)
      _refuse_long(url, got, max_bytes)
      file.write(block)
      file.flush()
      if time.monotonic() - told > 5:
        told = time.monotonic()
        say(f'  {got / 1e6:.1f} of {length / 1e6:.1f} MB')
  return got == length or not length


def _refuse_long(url: str, num_bytes: int, max_bytes: int) -> None:
  if num_bytes > max_bytes:
    raise CheckpointError(f'{url}: more than {max_bytes} bytes; not the expected file')


def _fill(url: str, part: pathlib.Path, file: IO[bytes], max_bytes: int) -> None:
  """Connects until the file is whole."""
  for tried in range(1, _TRIES + 1):
    before, failed = _size(file), ''
    try:
      if _receive(url, part, file, max_bytes):
        return
    except (OSError, ValueError, http.client.HTTPException) as error:
      if isinstance(error, CheckpointError):
        raise
      failed = f'{error or type(error).__name__}'
    got, _, length = _noted(part, url)
    if (got == before and failed) or tried == _TRIES:
      kept = f'; {got} of {length} bytes are kept, and the same command goes on from there'
      raise CheckpointError(
        f'{url}: {failed or "cut off"}{kept if got else ""}. Or bring the file yourself and give '
        'its path'
      )
    say(f'  {failed or "cut off"} after {_size(file) / 1e6:.1f} MB, asking for the rest')


def _size(file: IO[bytes]) -> int:
  return os.fstat(file.fileno()).st_size


def download(url: str, path: pathlib.Path, max_bytes: int) -> pathlib.Path:
  """Saves what lies at an address as `path`, whole, with progress on stderr.

  What came before a connection broke is kept beside it and used by the next call, if the server
  can send the rest and says that the file is still the same.

  Args:
    url: https address, or http of this machine.
    path: where to; its folder is made.
    max_bytes: a longer file is refused.

  Raises:
    CheckpointError: another address, no answer within 30 seconds, too long, cut off again and
      again, no place for it.
  """
  _check_address(url, url)
  part = path.with_name(f'{path.name}.part')
  say(f'{path.name}: from {url}')
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(part) as file:
      try:
        _fill(url, part, file, max_bytes)
      except CheckpointError:
        if not _noted(part, url)[0]:
          _remove(part)
        raise
      os.replace(part, path)
      _remove(part)
  except OSError as error:
    raise CheckpointError(f'{path}: cannot be written ({error.strerror or error})') from error
  return path


def _remove(part: pathlib.Path) -> None:
  for one in (part, part.with_name(f'{part.name}.json')):
    one.unlink(missing_ok=True)
