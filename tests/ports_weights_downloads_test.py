"""Tests of downloads, from a server of this machine that breaks off, lies and changes its mind."""

import hashlib
import http.server
import json
import re
import threading

import pytest

from ports.weights import downloads
from ports.weights.errors import CheckpointError

DATA = bytes(range(256)) * 40
MORE = DATA[::-1]


class Server(http.server.ThreadingHTTPServer):
  """Serves `data` at every path and notes what it was asked for."""

  daemon_threads = True

  def __init__(self):
    super().__init__(('127.0.0.1', 0), Handler)
    self.data, self.asked = DATA, []
    self.etag, self.modified, self.ranges, self.length = '"one"', '', True, True
    self.cuts = []  # bytes after which each answer breaks off; none for whole ones
    self.start = 0  # added to where a part says that it starts
    self.status = 0

  @property
  def url(self):
    return f'http://127.0.0.1:{self.server_address[1]}/m.pt'


class Handler(http.server.BaseHTTPRequestHandler):

  def log_message(self, *arguments):
    pass

  def do_GET(self):
    told, asked = self.server, self.headers.get('Range')
    told.asked.append(asked)
    if told.status:
      self.send_error(told.status)
      return
    first, whole = 0, len(told.data)
    if asked and told.ranges and self.headers.get('If-Range') in (told.etag, told.modified):
      first = int(re.fullmatch(r'bytes=(\d+)-', asked)[1])
      if first >= whole:
        self.send_error(416)
        return
      self.send_response(206)
      self.send_header('Content-Range', f'bytes {first + told.start}-{whole - 1}/{whole}')
    else:
      self.send_response(200)
    for name, value in (('ETag', told.etag), ('Last-Modified', told.modified)):
      if value:
        self.send_header(name, value)
    body = told.data[first:]
    if told.length:
      self.send_header('Content-Length', str(len(body)))
    self.end_headers()
    self.wfile.write(body[: told.cuts.pop(0)] if told.cuts else body)


@pytest.fixture
def server():
  made = Server()
  thread = threading.Thread(target=made.serve_forever, kwargs={'poll_interval': 0.01}, daemon=True)
  thread.start()
  yield made
  made.shutdown()
  made.server_close()


def broken_off(server, path, monkeypatch, cut=3000):
  """One connection that ended early, and no other."""
  with monkeypatch.context() as patch:
    patch.setattr(downloads, '_TRIES', 1)
    server.cuts = [cut]
    with pytest.raises(CheckpointError, match='cut off') as error:
      downloads.download(server.url, path, 10**6)
  server.asked.clear()
  return str(error.value)


def names(path):
  return sorted(p.name for p in path.parent.iterdir())


def test_a_file_comes_whole_and_leaves_nothing_beside_it(server, tmp_path):
  path = tmp_path / 'below' / 'm.pt'
  assert downloads.download(server.url, path, 10**6) == path
  assert path.read_bytes() == DATA and names(path) == ['m.pt'] and server.asked == [None]


def test_the_rest_of_a_broken_download_is_asked_for(server, tmp_path, monkeypatch, capsys):
  path = tmp_path / 'm.pt'
  told = broken_off(server, path, monkeypatch)
  assert f'3000 of {len(DATA)} bytes are kept' in told
  assert names(path) == ['m.pt.part', 'm.pt.part.json']
  downloads.download(server.url, path, 10**6)
  assert path.read_bytes() == DATA and names(path) == ['m.pt']
  assert server.asked == ['bytes=3000-'] and 'going on behind' in capsys.readouterr().err


def test_one_call_asks_again_as_long_as_something_comes(server, tmp_path):
  path = tmp_path / 'm.pt'
  server.cuts = [1000, 2000, 500]
  downloads.download(server.url, path, 10**6)
  assert path.read_bytes() == DATA
  assert server.asked == [None, 'bytes=1000-', 'bytes=3000-', 'bytes=3500-']


def test_the_time_of_the_last_change_marks_a_file_without_a_tag(server, tmp_path, monkeypatch):
  path = tmp_path / 'm.pt'
  server.etag, server.modified = '', 'Wed, 21 Oct 2015 07:28:00 GMT'
  broken_off(server, path, monkeypatch)
  downloads.download(server.url, path, 10**6)
  assert path.read_bytes() == DATA and server.asked == ['bytes=3000-']


@pytest.mark.parametrize(
  ('changes', 'asked'),
  [
    ({'ranges': False}, ['bytes=3000-']),  # it sends all again
    ({'data': MORE, 'etag': '"two"'}, ['bytes=3000-']),  # another file
    ({'data': MORE[:9000]}, ['bytes=3000-', None]),  # of another length under the same tag
    ({'data': MORE[:2000]}, ['bytes=3000-', None]),  # which has no such rest: 416
    ({'start': 7}, ['bytes=3000-', None]),  # not the rest that was asked for
  ],
)
def test_what_is_no_rest_of_the_same_file_is_taken_from_the_start(
  server, tmp_path, monkeypatch, changes, asked
):
  path = tmp_path / 'm.pt'
  broken_off(server, path, monkeypatch)
  for name, value in changes.items():
    setattr(server, name, value)
  downloads.download(server.url, path, 10**6)
  assert path.read_bytes() == server.data and server.asked == asked
  assert names(path) == ['m.pt']


@pytest.mark.parametrize('etag', ['', 'W/"one"'])
def test_without_a_mark_nothing_is_appended(server, tmp_path, monkeypatch, etag):
  path = tmp_path / 'm.pt'
  server.etag = etag
  assert 'kept' not in broken_off(server, path, monkeypatch)
  assert names(path) == []
  downloads.download(server.url, path, 10**6)
  assert path.read_bytes() == DATA and server.asked == [None]


@pytest.mark.parametrize(
  'noted', ['', '[]', '{}', '{"url": "https://other/m.pt", "mark": "\\"one\\"", "length": 10240}']
)
def test_a_part_of_which_nothing_is_known_is_not_used(server, tmp_path, monkeypatch, noted):
  path = tmp_path / 'm.pt'
  broken_off(server, path, monkeypatch)
  (tmp_path / 'm.pt.part.json').write_text(noted)
  downloads.download(server.url, path, 10**6)
  assert path.read_bytes() == DATA and server.asked == [None]


def test_a_part_that_was_tampered_with_shows_in_the_sum(server, tmp_path, monkeypatch):
  # the server cannot know what lies here: whoever uses the file compares its sum
  path = tmp_path / 'm.pt'
  broken_off(server, path, monkeypatch)
  (tmp_path / 'm.pt.part').write_bytes(b'x' * 3000)
  downloads.download(server.url, path, 10**6)
  assert hashlib.sha256(path.read_bytes()).digest() != hashlib.sha256(DATA).digest()


def test_too_long_files_are_refused_and_not_kept(server, tmp_path):
  path = tmp_path / 'm.pt'
  for length in (True, False):
    server.length = length
    with pytest.raises(CheckpointError, match='more than 1000 bytes'):
      downloads.download(server.url, path, 1000)
    assert names(path) == []


def test_a_file_of_unknown_length_comes_whole(server, tmp_path):
  server.length = False
  downloads.download(server.url, tmp_path / 'm.pt', 10**6)
  assert (tmp_path / 'm.pt').read_bytes() == DATA


def test_what_the_server_says_is_told(server, tmp_path):
  server.status = 404
  with pytest.raises(CheckpointError, match=r'm\.pt: HTTP Error 404: .*give its path'):
    downloads.download(server.url, tmp_path / 'm.pt', 10**6)
  assert list(tmp_path.iterdir()) == []


def test_no_network_is_an_error_with_the_address_and_keeps_what_is_there(
  server, tmp_path, monkeypatch
):
  path = tmp_path / 'm.pt'
  broken_off(server, path, monkeypatch)

  def urlopen(request, timeout):
    assert timeout <= 60
    raise OSError('Name or service not known')

  monkeypatch.setattr(downloads.urllib.request, 'urlopen', urlopen)
  with pytest.raises(CheckpointError, match=r'Name or service not known; 3000 of 10240 bytes'):
    downloads.download(server.url, path, 10**6)
  assert names(path) == ['m.pt.part', 'm.pt.part.json']
  assert json.loads((tmp_path / 'm.pt.part.json').read_text())['length'] == len(DATA)


def test_another_process_at_the_same_file_is_named(server, tmp_path):
  path = tmp_path / 'm.pt'
  with downloads._locked(tmp_path / 'm.pt.part') as file:
    file.write(b'its own')
    file.flush()
    with pytest.raises(CheckpointError, match=r'another process is downloading m\.pt'):
      downloads.download(server.url, path, 10**6)
  assert (tmp_path / 'm.pt.part').read_bytes() == b'its own' and server.asked == []


def test_a_folder_that_cannot_be_is_named(server, tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(CheckpointError, match='cannot be written'):
    downloads.download(server.url, tmp_path / 'file' / 'm.pt', 10**6)


@pytest.mark.parametrize(
  'url', ['http://a/a', 'file:///etc/passwd', 'ftp://a/a', 'http://localhost.a/a', 'http://[/a']
)
def test_only_https_is_asked(tmp_path, monkeypatch, url):
  monkeypatch.setattr(downloads.urllib.request, 'urlopen', lambda *a, **k: pytest.fail('asked'))
  with pytest.raises(CheckpointError, match='only https'):
    downloads.download(url, tmp_path / 'a', 1000)


def test_an_address_may_not_lead_to_one_that_is_not_encrypted(server, tmp_path, monkeypatch):
  opened = downloads.urllib.request.urlopen

  def urlopen(request, timeout):
    return opened(server.url, timeout=timeout)

  monkeypatch.setattr(downloads.urllib.request, 'urlopen', urlopen)
  with pytest.raises(CheckpointError, match=r'https://a/a leads to http://127.*only https'):
    downloads.download('https://a/a', tmp_path / 'a', 10**6)
  assert list(tmp_path.iterdir()) == []
