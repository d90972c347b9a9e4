"""Trains MobileSAM's mask decoder on the worst clicks, on users' clicks and on robot users' clicks.

  python -m examples.robust_training
  python -m examples.robust_training --data_dir=D --held_out=H --out=runs/robust

D and H hold `images/` and `masks/`, and each may be given several times; every second object is
held out where no H is given, and the bundled photographs are taken where no D is. `--out` gets of
every model a checkpoint and its scores on what was held out, and `table.md`. The same command goes
on where it was stopped. A checkpoint is attacked as any weights are:

  python -m experiments.attack --model=mobile_sam --weights=runs/robust/worst-0
"""

import dataclasses
import functools
import json
import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
from absl import app, flags, logging

import tetris_jax
from ports import zoo
from ports.weights.errors import CheckpointError
from tetris_jax import crowd, data
from tetris_jax.geometry import objectives, overlap
from tetris_jax.runs import workdirs
from tetris_jax.scores import metrics, profile

KINDS = ('worst', 'users', 'robot')
ATTACK = tetris_jax.presets.get('strong_v1_16', num_clicks=1)


def with_features(segmenter):
  """The same model, which finds the features of its picture beside its parameters."""
  return dataclasses.replace(segmenter, encode=lambda params, image, size: params['features'])


# Clicks, a loss at them, and a step.


def clicks_for(kind, model, batch, key):
  """First clicks, yx (batch, 1, 2) and label (batch, 1), constant for the gradient of a loss."""
  if kind == 'worst':
    return tetris_jax.worst_clicks(model, batch, ATTACK)
  if kind == 'robot':
    clicks = tetris_jax.attack(model, batch, 'baseline', num_clicks=1).clicks
  else:
    one = crowd.Crowd(prior='distance', count=1)
    found = tetris_jax.attack(model, batch, 'baseline', num_clicks=1, users=one, key=key)
    clicks = found.users.clicks
  return jax.tree.map(lambda x: x[:, 0], clicks)


def loss(model, batch, clicks):
  """Cross entropy and dice of the mask that the model answers with, and the error of its own score.

  SAM answers with the one of three masks of which it expects most. That one is trained, and what
  was expected of it: the choice is as much a part of the answer as the mask is.
  """
  state = model.init(model.params, model.params['features'])
  context = model.prepare(model.params, model.params['features'], state)
  logits, state = model.decode(model.params, context, jax.tree.map(lambda x: x[0], clicks))
  mask, valid = batch.mask[0], overlap.inside_image(batch.size[0], logits.shape) & ~batch.ignore[0]
  weight, wanted = valid.astype(jnp.float32), (mask & valid).astype(jnp.float32)
  entropy = jnp.sum(weight * optax.sigmoid_binary_cross_entropy(logits, wanted)) / weight.sum()
  dice = objectives.dice_loss(logits, mask, valid)
  expected, found = model.predicted_iou(state), overlap.iou(logits > 0, mask, valid)
  return entropy + dice + jnp.square(expected - found)


@functools.partial(jax.jit, static_argnames=('kind', 'optimiser'))
def step(kind, optimiser, segmenter, trained, memory, objects, keys):
  """A step on a few objects, each a batch of one and its features, one after the other."""

  def of_one(given):
    (batch, features), key = given
    rest = {**segmenter.params, 'features': features}
    clicks = clicks_for(kind, segmenter.with_params({**rest, **trained}), batch, key)
    of = lambda trained: loss(segmenter.with_params({**rest, **trained}), batch, clicks)
    return jax.value_and_grad(of)(trained)

  losses, gradients = jax.lax.map(of_one, (objects, keys))
  gradient = jax.tree.map(lambda x: x.mean(0), gradients)
  updates, memory = optimiser.update(gradient, memory, trained)
  return optax.apply_updates(trained, updates), memory, losses.mean()


# Pictures, a training, a measurement, a table.


@functools.cache
def optimiser_of(steps, learning_rate):
  """The same each time, for compiled programs go by it."""
  rate = optax.warmup_cosine_decay_schedule(0.0, learning_rate, steps // 10, steps)
  return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate))


def train(kind, segmenter, trained, objects, *, seed, steps, batch_size, learning_rate):
  """Parameters after so many steps on objects in random order, and the losses."""
  optimiser = optimiser_of(steps, learning_rate)
  memory, rng, losses, left = optimiser.init(trained), np.random.default_rng(seed), [], []
  for number in range(steps):
    while len(left) < batch_size:
      left += rng.permutation(len(objects)).tolist()
    few = jax.tree.map(lambda *x: jnp.stack(x), *(objects[left.pop()] for _ in range(batch_size)))
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), number), batch_size)
    trained, memory, value = step(kind, optimiser, segmenter, trained, memory, few, keys)
    losses.append(float(value))
  return trained, losses


def encoded(segmenter, samples):
  """Every object as a batch of one on a common canvas, and the features of its picture."""
  canvas = data.canvas_for(tuple(np.max([one.size for one in samples], 0).tolist()))
  encode = jax.jit(lambda segmenter, *given: segmenter.encode(segmenter.params, *given))
  batches = [data.stack([sample], canvas, batch_size=1)[0] for sample in samples]
  return [(batch, encode(segmenter, batch.image[0], batch.size[0])) for batch in batches]


@functools.partial(jax.jit, static_argnames='count')
def measured(segmenter, batch, features, count):
  """IoU of the first click: (3,) of BASE, MIN and MAX, and (count,) of users."""
  model = segmenter.with_params({**segmenter.params, 'features': features})
  key, users = jax.random.key(0), crowd.Crowd(prior='distance', count=count)
  found = tetris_jax.attack(model, batch, ATTACK, key=key, users=users)
  return found.iou[0, :, 0], found.users.iou[0, :, 0]


def scores(segmenter, objects, count):
  """Of every object BASE, D, D(.25) and the mean over so many users, x100."""
  found = [measured(segmenter, *one, count) for one in objects]
  iou, users = (100 * np.array(part, np.float64) for part in zip(*found, strict=True))
  d = metrics.robustness(iou[:, 1:2], iou[:, 2:3])
  columns = (iou[:, 0], d, profile.d_alpha(users, 0.25), users.mean(1))
  return dict(zip(('BASE', 'D', 'D(.25)', 'mean'), map(np.ndarray.tolist, columns), strict=True))


def table(found):
  """Markdown of {kind: [scores of a seed, ...]}: means, and their changes against other models.

  In brackets a 95 % bootstrap interval over objects of the mean over seeds; then seeds' range.
  """
  names = list(found['published'][0])
  lines = [['', *names], ['---'] + ['---:'] * len(names)]
  lines.append(['published', *(f'{np.mean(found["published"][0][name]):.1f}' for name in names)])
  pairs = [(kind, 'published') for kind in found if kind != 'published']
  for kind, other in [*pairs, ('worst', 'robot'), ('users', 'robot')]:
    if not {kind, other} <= set(found):
      continue
    lines.append([f'{kind} against {other}'])
    for name in names:
      models, others = (np.array([one[name] for one in found[key]]) for key in (kind, other))
      change = metrics.paired_difference(models.mean(0), others.mean(0))
      seeds = np.mean(models - others.mean(0), 1)
      lines[-1].append(
        f'{models.mean():.1f}: {change.value:+.1f} [{change.low:+.1f}, {change.high:+.1f}], '
        f'{seeds.min():+.1f} to {seeds.max():+.1f}'
      )
  return ''.join(f'| {" | ".join(line)} |\n' for line in lines)


FLAGS = flags.FLAGS
flags.DEFINE_multi_string('data_dir', [], 'Trained on; the bundled photographs by default.')
flags.DEFINE_multi_string('held_out', [], 'Measured; by default every second object.')
flags.DEFINE_string('out', 'runs/robust', 'Where checkpoints, scores and the table go.')
flags.DEFINE_multi_enum('kind', KINDS, KINDS, 'Which clicks are trained on.')
flags.DEFINE_integer('seeds', 3, 'Models of a kind.', lower_bound=1)
flags.DEFINE_integer('steps', 200, 'Of each training.', lower_bound=1)
flags.DEFINE_integer('batch_size', 2, 'Objects of a step.', lower_bound=1)
flags.DEFINE_integer('users', 64, 'Who click on what is measured.', lower_bound=1)
flags.DEFINE_float('learning_rate', 3e-5, 'Of AdamW, after a tenth of the steps; it falls to 0.')
flags.register_validator('learning_rate', lambda rate: 0 < rate < 1, 'expected between 0 and 1')


def read(folders):
  """The objects of folders; of the bundled photographs where a folder is ''."""
  sets = [data.open_dataset('folder' if one else 'samples', one or None) for one in folders]
  return [entry for one in sets for entry in one if isinstance(entry, data.Sample)]


def kept(file, settings):
  """What a file has of a model that was measured with these settings; None for any other file."""
  try:
    made = json.loads(file.read_text())
  except (OSError, ValueError):
    return None
  return made if isinstance(made, dict) and made.get('settings') == settings else None


def main(_):
  """Trains and measures what has not been yet, and writes the table."""
  logging.set_verbosity(logging.WARNING)  # Orbax tells much.
  out = pathlib.Path(FLAGS.out).absolute()
  try:
    out.mkdir(parents=True, exist_ok=True)
    learnt, held_out = read(FLAGS.data_dir or ['']), read(FLAGS.held_out)
    segmenter, found = zoo.segmenter('mobile_sam'), {}
  except (OSError, data.DataError, CheckpointError) as error:
    raise SystemExit(str(error)) from error
  if not FLAGS.held_out:
    learnt, held_out = learnt[::2], learnt[1::2]
  if not learnt or not held_out:
    raise SystemExit(f'{len(learnt)} objects to train on and {len(held_out)} held out: give more')
  learnt, held_out = (encoded(segmenter, samples) for samples in (learnt, held_out))
  segmenter = with_features(segmenter)
  shown = ('data_dir', 'held_out', 'users', 'steps', 'batch_size', 'learning_rate')
  settings = {name: FLAGS[name].value for name in shown}
  asked = [(kind, seed) for seed in range(FLAGS.seeds) for kind in FLAGS.kind]
  for kind, seed in [('published', 0), *asked]:
    place, started, losses = out / f'{kind}-{seed}', time.monotonic(), []
    file = place.with_suffix('.json')
    made = kept(file, settings)
    if made is None:
      file.unlink(missing_ok=True)  # It is of another checkpoint than the one that comes.
      params = {**segmenter.params}
      if kind != 'published':
        decoder = {name: leaf for name, leaf in params.items() if name.startswith('mask_decoder/')}
        how = {name: settings[name] for name in shown[3:]}
        decoder, losses = train(kind, segmenter, decoder, learnt, seed=seed, **how)
        params |= decoder
        with ocp.StandardCheckpointer() as checkpointer:
          checkpointer.save(place, params, force=True)
      trained = time.monotonic()
      made = {'settings': settings, 'losses': losses}
      made['scores'] = scores(segmenter.with_params(params), held_out, settings['users'])
      made['seconds'] = [trained - started, time.monotonic() - trained]
      workdirs.write_atomically(file, json.dumps(made).encode())
    found.setdefault(kind, []).append(made['scores'])
    means = [f'{name} {np.mean(values):.1f}' for name, values in made['scores'].items()]
    print(f'{place.name}: {", ".join(means)} ({sum(made["seconds"]):.0f} s)', flush=True)
  (out / 'table.md').write_text(table(found))
  print(table(found))


if __name__ == '__main__':
  app.run(main)
