"""Tests of the formats of PyTorch checkpoints: right values, and every hostile archive refused."""

import math
import pickle
import zipfile

import numpy as np
import pytest
import torch_pickles as tp

from ports.weights import checkpoints
from ports.weights.errors import CheckpointError

STATE = {
  'layer.weight': np.arange(6, dtype=np.float32).reshape(2, 3),
  'layer.bias': np.array([0.5, -2.0], np.float16),
  'norm.running_var': np.array([1 / 3], np.float64),
  'norm.num_batches_tracked': np.array(7, np.int64),
  'mask': np.array([True, False]),
}


def assert_same(found, wanted):
  assert set(found) == set(wanted)
  for name, array in wanted.items():
    assert found[name].dtype == array.dtype
    np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize('write', [tp.write_state, tp.write_legacy])
def test_reads_both_formats(tmp_path, write):
  assert_same(checkpoints.read(write(tmp_path / 'a.pt', STATE)), STATE)


def test_nested_dicts_and_lists_are_joined_and_metadata_is_left_out(tmp_path):
  entry = tp.tensor('0', 2, (2,), (1,))
  tree = tp.dictionary({'epoch': tp.number(3), 'state': tp.dictionary({'w': entry})})
  members = {'a/data.pkl': tp.whole(tree), 'a/data/0': np.array([1, 2], np.float32).tobytes()}
  found = checkpoints.read(tp.write_zip(tmp_path / 'a.pth', members))
  assert_same(found, {'state.w': np.array([1, 2], np.float32)})


def test_strides_and_offsets_are_followed(tmp_path):
  data = np.arange(12, dtype=np.float32)
  entries = {
    'transposed': tp.tensor('0', 12, (3, 2), (1, 3), offset=2),
    'single': tp.tensor('0', 12, (1, 1), (2**40, 5), offset=11),
    'scalar': tp.tensor('0', 12, (), (), offset=4),
  }
  members = {'a/data.pkl': tp.whole(tp.dictionary(entries)), 'a/data/0': data.tobytes()}
  found = checkpoints.read(tp.write_zip(tmp_path / 'a.pt', members))
  np.testing.assert_array_equal(found['transposed'], data[2:8].reshape(2, 3).T)
  assert found['single'].tolist() == [[11.0]]
  assert found['scalar'].shape == () and found['scalar'] == 4


def test_bfloat16_is_widened_exactly(tmp_path):
  values = np.array([1.5, -3.0, 2.0**-130, 0.0], np.float32)
  bits = (values.view(np.uint32) >> 16).astype(np.uint16)
  tree = tp.dictionary({'w': tp.tensor('0', 4, (4,), (1,), storage='BFloat16Storage')})
  members = {'a/data.pkl': tp.whole(tree), 'a/data/0': bits.tobytes()}
  found = checkpoints.read(tp.write_zip(tmp_path / 'a.pt', members))
  assert_same(found, {'w': values})


@pytest.mark.parametrize(
  ('name', 'shown'),
  [
    ('../evil', '../evil'),
    ('archive/../../evil', 'archive/../../evil'),
    ('/etc/evil', '/etc/evil'),
    ('C:/evil', 'C:/evil'),
    ('archive\\..\\evil', '..'),
  ],
)
def test_members_that_point_outside_are_refused_by_name(tmp_path, name, shown):
  path = tp.write_zip(tmp_path / 'a.pt', tp.state_members(STATE) | {name: b'x'})
  with pytest.raises(CheckpointError, match='points outside') as error:
    checkpoints.read(path)
  assert shown in str(error.value)


def test_truncation_anywhere_is_an_error(tmp_path):
  for write in (tp.write_state, tp.write_legacy):
    data = write(tmp_path / 'whole.pt', STATE).read_bytes()
    cut = tmp_path / 'cut.pt'
    for length in [0, 1, 3, *range(4, len(data), 37), len(data) - 1]:
      cut.write_bytes(data[:length])
      with pytest.raises(CheckpointError, match=r'^cut\.pt: '):
        checkpoints.read(cut)


def test_damaged_bytes_are_noticed_by_the_checksum_of_the_archive(tmp_path):
  path = tp.write_state(tmp_path / 'a.pt', STATE)
  data = path.read_bytes()
  place = data.index(STATE['layer.weight'].tobytes())
  path.write_bytes(data[:place] + b'\x01' + data[place + 1 :])
  with pytest.raises(CheckpointError, match='damaged'):
    checkpoints.read(path)


def test_compressed_members_are_refused_unread(tmp_path):
  members = tp.state_members(STATE) | {'archive/data/9': bytes(10_000_000)}
  path = tp.write_zip(tmp_path / 'a.pt', members, zipfile.ZIP_DEFLATED)
  with pytest.raises(CheckpointError, match='compressed'):
    checkpoints.read(path)


@pytest.mark.parametrize(
  ('entry', 'message'),
  [
    (tp.tensor('0', 4, (5,), (1,)), 'outside its storage'),
    (tp.tensor('0', 4, (2,), (1,), offset=3), 'outside its storage'),
    (tp.tensor('0', 4, (2, 2), (3, 1)), 'outside its storage'),
    (tp.tensor('0', 400, (4,), (1,)), 'declares a storage of 400 elements'),
    (tp.tensor('1', 1, (1,), (1,)), 'storage of "w" has 7 bytes'),
    (tp.tensor('0', 4, (10**6, 10**6), (0, 0)), 'repeats'),
    (tp.tensor('0', 4, (2,), (1,), offset=-1), 'offset'),
    (tp.tensor('0', 4, (-2,), (1,)), 'size'),
    (tp.tensor('0', 4, (2,), (-1,)), 'stride'),
    (tp.tensor('9', 4, (4,), (1,)), 'lacks "a/data/9"'),
    (tp.tensor('../0', 4, (4,), (1,)), 'lacks "a/data/../0"'),
  ],
)
def test_tensors_that_do_not_fit_their_bytes_are_refused(tmp_path, entry, message):
  members = {'a/data.pkl': tp.whole(tp.dictionary({'w': entry})), 'a/data/0': bytes(16)}
  members['a/data/1'] = bytes(7)
  with pytest.raises(CheckpointError, match=message):
    checkpoints.read(tp.write_zip(tmp_path / 'a.pt', members))


def test_many_tensors_over_one_storage_cannot_multiply_it(tmp_path):
  entries = {f'w{i}': tp.tensor('0', 4096, (4096,), (1,)) for i in range(64)}
  members = {'a/data.pkl': tp.whole(tp.dictionary(entries)), 'a/data/0': bytes(4 * 4096)}
  with pytest.raises(CheckpointError, match='repeats'):
    checkpoints.read(tp.write_zip(tmp_path / 'a.pt', members))


def test_other_files_are_told_apart(tmp_path):
  (tmp_path / 'page.pt').write_bytes(b'<html>not found</html>')
  with pytest.raises(CheckpointError, match='not a PyTorch checkpoint'):
    checkpoints.read(tmp_path / 'page.pt')
  path = tp.write_zip(tmp_path / 'script.pt', {'a/code/x.py': b'', 'a/constants.pkl': b''})
  with pytest.raises(CheckpointError, match='TorchScript'):
    checkpoints.read(path)
  (tmp_path / 'plain.pt').write_bytes(pickle.dumps({'w': 1}))
  with pytest.raises(CheckpointError, match='not a PyTorch checkpoint'):
    checkpoints.read(tmp_path / 'plain.pt')


@pytest.mark.parity
@pytest.mark.parametrize('zipped', [True, False])
def test_reads_what_torch_writes(tmp_path, zipped):
  torch = pytest.importorskip('torch')
  base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
  state = {
    'model': {
      'whole': base,
      'view': base[1:3, ::2].T,
      'parameter': torch.nn.Parameter(torch.randn(3, 2)),
      'half': torch.randn(5).half(),
      'brain': torch.randn(5).bfloat16(),
      'empty': torch.zeros(0, 3),
      'integers': torch.arange(3, dtype=torch.int16),
    },
    'module': torch.nn.Linear(3, 2).state_dict(),
    'epoch': 3,
    'loss': math.pi,
  }
  path = tmp_path / 'a.pth'
  torch.save(state, path, _use_new_zipfile_serialization=zipped)
  found = checkpoints.read(path)
  for part in ('model', 'module'):
    for name, wanted in state[part].items():
      wanted = wanted.detach()
      wanted = wanted.float() if wanted.dtype == torch.bfloat16 else wanted
      np.testing.assert_array_equal(found.pop(f'{part}.{name}'), wanted.numpy(), strict=True)
  assert not found


def stream_start(protocol):
  return b''.join(pickle.dumps(part, protocol) for part in (0x1950A86A20F9469CFC6C, 1001, {'a': 1}))


@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
def test_the_stream_format_is_read_in_every_protocol(tmp_path, protocol):
  data = tp.write_legacy(tmp_path / 'a.pt', STATE).read_bytes()
  rest = data[data.index(b'ccollections') - 2 :]
  (tmp_path / 'a.pt').write_bytes(stream_start(protocol) + rest)
  assert_same(checkpoints.read(tmp_path / 'a.pt'), STATE)


def test_long_and_deep_headers_are_refused(tmp_path):
  data = tp.write_legacy(tmp_path / 'a.pt', STATE).read_bytes()
  start, rest = stream_start(2), data[data.index(b'ccollections') - 2 :]
  magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
  deep = b'\x80\x02)' + b'\x85' * 5000 + b'.'
  for header, message in (
    (magic + deep + deep, 'a stream format that is not 1001'),
    (magic + b'\x80\x02(' + b'N' * 20_000 + b't.', 'more than 10000 opcodes'),
    (start[:-1] + b'N' * 20_000 + b'.', 'more than 10000 opcodes'),
  ):
    (tmp_path / 'b.pt').write_bytes(header + rest)
    with pytest.raises(CheckpointError, match=message):
      checkpoints.read(tmp_path / 'b.pt')


def test_bfloat16_that_overlaps_cannot_multiply_its_storage(tmp_path):
  entries = {
    f'w{i}': tp.tensor('0', 4096, (4096,), (1,), storage='BFloat16Storage') for i in range(8)
  }
  members = {'a/data.pkl': tp.whole(tp.dictionary(entries)), 'a/data/0': bytes(2 * 4096)}
  with pytest.raises(CheckpointError, match='repeats'):
    checkpoints.read(tp.write_zip(tmp_path / 'a.pt', members))


def network():
  tensor = tp.tensor('0', 1, (1,), (1,))
  attributes = tp.dictionary({'_parameters': tp.dictionary({'w': tensor}), '_modules': b'}'})
  return b'c__main__\nNet\n)\x81' + attributes + b'b'


@pytest.mark.parametrize('tree', [
  network(), tp.dictionary({'model': network(), 'epoch': tp.number(1)})
])
def test_a_whole_network_is_refused_with_what_to_do(tmp_path, tree):
  members = {'a/data.pkl': tp.whole(tree), 'a/data/0': bytes(4)}
  with pytest.raises(CheckpointError) as error:
    checkpoints.read(tp.write_zip(tmp_path / 'a.pt', members))
  assert 'a whole pickled network ("__main__.Net")' in str(error.value)
  assert 'torch.save(model.state_dict(), PATH)' in str(error.value)
  assert len(str(error.value).splitlines()) == 1


def test_a_network_beside_tensors_is_noted(tmp_path):
  tree = tp.dictionary({'loss': network(), 'w': tp.tensor('0', 1, (1,), (1,))})
  members = {'a/data.pkl': tp.whole(tree), 'a/data/0': bytes(4)}
  found = checkpoints.read(tp.write_zip(tmp_path / 'a.pt', members))
  assert set(found) == {'w'} and found.networks == ('__main__.Net',)


def test_what_holds_no_tensors_says_so(tmp_path):
  members = {'a/data.pkl': tp.whole(tp.dictionary({'epoch': tp.number(3)}))}
  with pytest.raises(CheckpointError, match='no tensors that can be read'):
    checkpoints.read(tp.write_zip(tmp_path / 'a.pt', members))


def test_a_packed_checkpoint_has_to_be_unpacked(tmp_path):
  members = {'weights/own.pth': bytes(9)}
  for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
    with pytest.raises(CheckpointError, match=r'packs "weights/own\.pth"; unpack it'):
      checkpoints.read(tp.write_zip(tmp_path / 'a.pt', members, compression))
