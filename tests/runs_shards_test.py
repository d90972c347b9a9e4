"""Shards: what comes back, and that nothing else is taken for one."""

import hashlib
import json
import os

import pytest

from tetris_jax.runs import files, schema, shards

ROWS = [schema.empty_row('attack', name, 'failed', 'for a test', (3, 4)) for name in 'ab']
FACTS = {'seconds': 0.5}


def put(folder, data):
  path = folder / '00007.jsonl'
  path.write_bytes(data)
  return path


def test_a_shard_says_of_which_run_it_is(tmp_path):
  path = put(tmp_path, shards.as_bytes(shards.Shard(ROWS, FACTS), 7, 'abc'))
  header, rows = shards.read(path, 'attack', inside=tmp_path)
  assert header == (7, 'abc', FACTS) == shards.read_header(path, inside=tmp_path)
  assert rows == ROWS
  path.write_bytes(path.read_bytes().replace(b'\n', b'\r\n'))
  assert shards.read(path, 'attack', inside=tmp_path) == (header, ROWS)
  # Those of earlier versions do not.
  path = put(tmp_path, shards.as_bytes(shards.Shard(ROWS, FACTS), 7))
  assert shards.read_header(path, inside=tmp_path).run is None


def signed(*lines):
  body = ''.join(f'{line}\n' for line in lines).encode()
  return body + json.dumps({'sha256': hashlib.sha256(body).hexdigest()}).encode() + b'\n'


HEADER = '{"batch": 7, "rows": 0, "facts": {}}'


@pytest.mark.parametrize(('data', 'message'), [
  (b'', 'truncated or altered'),
  (signed(), 'truncated or altered'),
  (signed('[]'), 'begins with no header'),
  (signed('[' * 5000 + ']' * 5000), 'nested'),
  (signed('{"batch": true, "rows": 0, "facts": {}}'), 'of which batch'),
  (signed('{"batch": 7, "run": 3, "rows": 0, "facts": {}}'), 'of which batch'),
  (signed('{"batch": 7, "rows": 2, "facts": {}}'), 'it has 0 rows, its header says 2'),
  (signed('{"batch": 7, "rows": 0}'), 'facts is None, expected an object'),
  (signed('{"batch": 7, "rows": 0, "facts": {"made_of": [], "seconds": NaN}}'), 'no number'),
  (signed(HEADER.replace('0', '1').replace('{}', '{"made_of": []}'), json.dumps(ROWS[0])),
   'made_of has 0 entries for 1 rows'),
  (signed(HEADER.replace('0', '1'), '{"instance": "a"}'), "instance 'a': "),
])  # fmt: skip
def test_what_is_no_shard_is_damaged(tmp_path, data, message):
  with pytest.raises(shards.DamagedShardError, match=rf'00007\.jsonl.*{message}'):
    shards.read(put(tmp_path, data), 'attack', inside=tmp_path)


def test_only_files_inside_are_read(tmp_path):
  whole = shards.as_bytes(shards.Shard(ROWS, FACTS), 7)
  (tmp_path / 'w').mkdir()
  (tmp_path / 'elsewhere').mkdir()
  put(tmp_path / 'elsewhere', whole)
  (tmp_path / 'w/results').symlink_to(tmp_path / 'elsewhere')
  with pytest.raises(files.FileError, match='link'):
    shards.read(tmp_path / 'w/results/00007.jsonl', 'attack', inside=tmp_path / 'w')
  os.mkfifo(tmp_path / 'w/pipe.jsonl')
  with pytest.raises(files.FileError, match='named pipe'):
    shards.read_header(tmp_path / 'w/pipe.jsonl', inside=tmp_path / 'w')
