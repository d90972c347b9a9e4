"""Names of instances and of their pictures, reasons, and rows without numbers."""

from experiments.lib import named
from tetris_jax import data
from tetris_jax.runs import schema
from tetris_jax.runs import workdirs as results


def dataset(last):
  sizes = ((10, 10), last)
  read = lambda k: data.Rejected(f'p{k}', 'failed', 'damaged', sizes[k])
  return data.Dataset('toy', [
    data.Entry(f'p{k}', lambda k=k: read(k), lambda k=k: sizes[k]) for k in range(2)
  ])  # fmt: skip


def test_names_of_files_and_reasons():
  assert named.picture_name(7, 'a b/c\n#1.png') == '00007_a_b_c_1.png.png'
  assert len(named.picture_name(0, 'x' * 300)) == 5 + 1 + 80 + 4
  assert named.reason_of(ValueError('first\nsecond')) == 'ValueError: first'
  assert named.reason_of(ValueError()) == 'ValueError: no message'
  assert len(named.reason_of(ValueError('x' * 999))) == 300


def test_a_data_set_is_known_by_names_and_sizes():
  assert named.listed(dataset(None)) == [['p0', [10, 10]], ['p1', None]]
  both = results.fingerprint([['p0', [10, 10]], ['p1', [10, 10]]])
  assert named.fingerprint(dataset((10, 10))) == both
  assert named.fingerprint(dataset((10, 10))) != named.fingerprint(dataset(None))


def test_rows_without_numbers_say_why():
  made = named.failed_row('attack', dataset(None), 1, 'no memory')
  schema.check_row(made, 'attack')
  assert (made['instance'], made['status'], made['reason']) == ('p1', 'failed', 'no memory')
  rejected = data.Rejected('p0', 'skipped', 'its mask is empty', (10, 10))
  made = named.rejected_row('attack', rejected)
  schema.check_row(made, 'attack')
  assert (made['status'], made['reason'], made['size']) == ('skipped', rejected.reason, [10, 10])
