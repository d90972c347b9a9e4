"""Figures of users' clicks are pictures that show something."""

import numpy as np
import pytest
import runs
from user_runs import row, source, walked

from tetris_jax.report.users import figures, summary


@pytest.mark.slow
def test_figures_are_pictures():
  groups = np.linspace(0.2, 0.95, 10)
  rows = [
    row(f'i{k}', 0.5, walked([0.3, 0.9], [[g / 2, g] for g in groups.tolist()]),
        file=source([[1.0, 2.0], [9.0, 9.0]], [0.1 * k, 0.6]), uniform=source([[3.0, 3.0]], [0.2]))
    for k in range(3)
  ]  # fmt: skip
  made = summary.summarise(rows, 'm', 2, {})
  lines = [{'model': 'x', 'attack_d1': 0.1, 'user_d': 0.3}]
  for picture in (
    figures.draw_spread(rows, 'file', 'm'),
    figures.draw_distance(rows),
    figures.draw_rounds(made),
    figures.draw_models(lines, 'title'),
  ):
    image = runs.pixels(picture)
    assert image.shape[0] > 300 and len(np.unique(image.reshape(-1, 3), axis=0)) > 20
