"""Finished work folders out of thin air, as programs leave them, for tests of who reads them."""

import json

import runs
import user_runs

from tetris_jax.runs import schema, workdirs

LEVELS = [
  {'depth': depth, 'n': 9, 'min': 0.1, 'max': 0.9} for depth in (0.0, 0.05, 0.1, 0.3)
]


def rows(count=3, spread=0.1):
  """Ok rows of an attack of two clicks, and a failed one, which is in no shard."""
  made = []
  for number in range(count):
    base = 0.5 + 0.02 * number
    one = runs.row(f'p{number}', base - spread * (number + 1), base, base + spread)
    # Each with lists of its own, as a file has them.
    one = json.loads(json.dumps(one | {'warnings': [] if number else ['looks wrong']}))
    made.append(one)
  return [*made, runs.failed('broken', 'images/broken.jpg is damaged')]


def attack(folder, model='m', made=None, pictures=(), **changes):
  """Writes a run of experiments.attack and returns its folder.

  Args:
    folder: where to.
    model: its name.
    made: its rows; those of `rows` if left out.
    pictures: positions of the instances that were drawn.
    **changes: of its config.json.
  """
  made = rows() if made is None else made
  config = {**runs.make(model, made).config, 'shard': {'id': 0, 'count': 1}} | changes
  write(folder, config, made)
  (folder / 'figures').mkdir()
  for number in pictures:
    runs.picture(folder / 'figures' / f'{number:05d}_p{number}.png', (60, 40), number)
  return folder


def users(folder, model='m', made=None, **changes):
  """Writes a run of experiments.users and returns its folder."""
  made = user_runs.ROWS if made is None else made
  write(folder, user_runs.config(model) | changes, made, 'users')
  return folder


def write(folder, config, made, kind='attack'):
  """Writes the files of a work folder, a shard of two rows each among them."""
  listed = [[one['instance'], one['size']] for one in made]
  (folder / 'results').mkdir(parents=True)
  place = workdirs.Workdir(folder)
  place.write_json('instances.json', {'instances': listed})
  place.write_json(
    'config.json',
    {'schema': schema.SCHEMA, **config, 'instances': workdirs.fingerprint(listed)},
  )
  place.write_json('summary.json', {'n_ok': 1, 'device_seconds': 2.0, 'programs': 1})
  place.write_rows([one['instance'] for one in made], made)
  sized = [one for one in made if one['size'] is not None]
  for batch in range(0, len(sized), 2):
    place.write_shard(batch // 2, workdirs.Shard(sized[batch : batch + 2], {'seconds': 1.0}))


def edit(folder, name, change):
  """Rewrites a JSON document by `change(value)`, which alters it or returns another."""
  file = folder / name
  value = json.loads(file.read_text())
  value = change(value) or value
  file.write_text(json.dumps(value))


def edit_row(folder, number, change):
  """Rewrites a line of rows.jsonl likewise, and takes away the shards that would contradict it."""
  lines = (folder / 'rows.jsonl').read_text().splitlines()
  row = json.loads(lines[number])
  lines[number] = json.dumps(change(row) or row)
  (folder / 'rows.jsonl').write_text('\n'.join(lines) + '\n')
  for shard in (folder / 'results').glob('*'):
    shard.unlink()


def tree(folder):
  """Every file below a folder and what is in it; of a link, where it leads."""
  return {
    path.relative_to(folder).as_posix(): path.readlink() if path.is_symlink() else path.read_bytes()
    for path in sorted(folder.rglob('*'))
    if path.is_symlink() or path.is_file()
  }
