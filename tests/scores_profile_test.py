"""D(alpha), shares and quantiles of outcomes: closed forms, weights, and nested intervals."""

import hypothesis
import hypothesis.extra.numpy
import hypothesis.strategies as st
import numpy as np
import pytest

from tetris_jax.scores import profile

OUTCOMES = hypothesis.extra.numpy.arrays(
  np.float64, st.integers(1, 12), elements=st.floats(0, 1)
)


def test_d_alpha_by_hand():
  outcomes = np.array([0.5, 0.1, 0.9, 0.3])
  assert profile.d_alpha(outcomes, 0) == pytest.approx(0.8)
  assert profile.d_alpha(outcomes, 0.25) == pytest.approx(0.8)
  assert profile.d_alpha(outcomes, 0.5) == pytest.approx(0.7 - 0.2)
  assert profile.d_alpha(outcomes, 1) == pytest.approx(0, abs=1e-15)
  # Of a share of 3 / 8 the second user counts by half.
  best, worst = (0.9 + 0.5 / 2) / 1.5, (0.1 + 0.3 / 2) / 1.5
  assert profile.d_alpha(outcomes, 3 / 8) == pytest.approx(best - worst)
  assert profile.d_alpha(np.array([0.4]), 0.3) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize('alpha', [0.01, 0.05, 0.25, 0.5, 0.9, 1.0])
def test_evenly_spread_outcomes_have_the_profile_of_the_uniform_distribution(alpha):
  # Of U(0, 1) the best alpha share has the mean 1 - alpha / 2, the worst alpha / 2.
  count = 4000
  outcomes = (np.arange(count) + 0.5) / count
  assert profile.d_alpha(outcomes, alpha) == pytest.approx(1 - alpha, abs=1 / count)
  assert profile.share_below(outcomes, 0.8) == pytest.approx(0.8, abs=1 / count)
  assert profile.quantile(outcomes, 0.25) == pytest.approx(0.25, abs=1 / count)


@pytest.mark.parametrize('alpha', [0.0, 0.05, 0.1, 0.3, 0.6, 0.95])
def test_two_outcomes_have_a_profile_in_closed_form(alpha):
  # A share p scores a and the rest b > a.
  a, b, p = 0.2, 0.7, 0.1
  outcomes, weights = np.array([b, a]), np.array([1 - p, p])
  lower, upper = (min(p / alpha, 1.0), max(0.0, (alpha - (1 - p)) / alpha)) if alpha else (1, 0)
  expected = (b - upper * (b - a)) - (b - lower * (b - a))
  assert profile.d_alpha(outcomes, alpha, weights=weights) == pytest.approx(expected)
  assert profile.share_below(outcomes, 0.5, weights=weights) == pytest.approx(p)
  assert profile.share_below(outcomes, 0.2, weights=weights) == 0
  assert profile.quantile(outcomes, p, weights=weights) == a
  assert profile.quantile(outcomes, p + 1e-6, weights=weights) == b
  # The same as ten users who are all alike.
  tenths = np.array([a] + [b] * 9)
  assert profile.d_alpha(tenths, alpha) == pytest.approx(expected)


SHARES = st.floats(0, 1, allow_subnormal=False)


@hypothesis.given(OUTCOMES, SHARES, SHARES)
def test_the_profile_falls_and_stays_within_the_range(outcomes, one, other):
  low, high = sorted((one, other))
  wide, narrow = profile.d_alpha(outcomes, low), profile.d_alpha(outcomes, high)
  assert -1e-9 <= narrow <= wide + 1e-9
  assert wide <= profile.d_alpha(outcomes, 0) + 1e-9


@hypothesis.given(OUTCOMES, SHARES)
def test_a_weight_is_a_number_of_users(outcomes, alpha):
  counts = np.random.default_rng(len(outcomes)).integers(1, 4, len(outcomes))
  repeated = np.repeat(outcomes, counts)
  for score in (profile.d_alpha, profile.quantile):
    found = score(outcomes, alpha, weights=counts)
    if score is profile.d_alpha:
      np.testing.assert_allclose(found, score(repeated, alpha), atol=1e-9)
    else:  # Within rounding of the share.
      assert score(repeated, max(alpha - 1e-9, 0)) <= found <= score(repeated, min(1, alpha + 1e-9))
  alike = profile.share_below(outcomes, alpha, weights=counts)
  assert alike == pytest.approx(profile.share_below(repeated, alpha))


def test_users_without_weight_do_not_count():
  outcomes, weights = np.array([0.0, 0.4, 0.6, 1.0]), np.array([0, 1, 1, 0])
  assert profile.d_alpha(outcomes, 0, weights=weights) == pytest.approx(0.2)
  assert profile.d_alpha(outcomes, 0.5, weights=weights) == pytest.approx(0.2)
  assert profile.quantile(outcomes, 1, weights=weights) == 0.6


def test_instances_are_scored_side_by_side():
  outcomes = np.random.default_rng(0).random((3, 5))
  found = profile.d_alpha(outcomes, 0.3)
  np.testing.assert_allclose(found, [profile.d_alpha(row, 0.3) for row in outcomes])
  outcomes[1, 2] = np.nan
  for score in (profile.d_alpha, profile.share_below, profile.quantile):
    assert np.isnan(score(outcomes, 0.3)).tolist() == [False, True, False]


@pytest.mark.parametrize(
  ('outcomes', 'alpha', 'weights', 'said'),
  [
    ([], 0.5, None, 'at least one user'),
    ([0.5], 1.5, None, 'alpha is 1.5'),
    ([0.5], 0.5, [-1], 'weights: expected'),
    ([0.5, 0.6], 0.5, [0, 0], 'weights: expected'),
    ([0.5, 0.6], 0.5, [1, np.inf], 'weights: expected'),
  ],
)
def test_what_cannot_be_scored_is_refused(outcomes, alpha, weights, said):
  with pytest.raises(ValueError, match=said):
    profile.d_alpha(np.array(outcomes), alpha, weights=weights)
  with pytest.raises(ValueError, match='share is 2'):
    profile.quantile(np.array([0.5]), 2)


@pytest.mark.parametrize('share', [0.0, 0.03, 0.25, 0.4, 0.5, 0.95, 1.0])
def test_coefficients_give_the_scores_of_ascending_outcomes(share):
  outcomes = np.sort(np.random.default_rng(1).random(7))
  found = outcomes @ profile.d_coefficients(share, 7)
  assert found == pytest.approx(profile.d_alpha(outcomes, share))
  assert outcomes @ profile.quantile_coefficients(share, 7) == profile.quantile(outcomes, share)


def test_nested_means_hold_both_spreads():
  rng = np.random.default_rng(2)
  coefficients = np.stack([np.full(20, 1 / 20), profile.d_coefficients(0.25, 20)], axis=1)
  # Instances alike, users not: the interval of the mean is that of 30 * 20 draws.
  alike = rng.random((30, 20))
  mean, d, below = profile.nested_means(alike, coefficients, (alike < 0.5)[..., None])
  assert mean.value == pytest.approx(alike.mean()) and mean.n == 30
  assert d.value == pytest.approx(profile.d_alpha(alike, 0.25).mean())
  assert below.value == pytest.approx((alike < 0.5).mean())
  wide = lambda found: (found.high - found.low) / (2 * 1.96)
  spread = np.sqrt(alike.var() / alike.size + alike.mean(1).var() / 30)
  assert wide(mean) == pytest.approx(spread, rel=0.1)
  assert d.low < d.value < d.high
  # Users alike, instances not.
  apart = np.repeat(rng.random((30, 1)), 20, axis=1)
  mean, d, _ = profile.nested_means(apart, coefficients, (apart < 0.5)[..., None])
  assert wide(mean) == pytest.approx(apart.mean(1).std() / np.sqrt(30), rel=0.1)
  assert abs(d.value) < 1e-12


def test_one_instance_has_no_interval_and_none_has_no_mean():
  coefficients = np.full((4, 1), 0.25)
  outcomes = np.array([[0.1, 0.2, 0.3, 0.4]])
  (one,) = profile.nested_means(outcomes, coefficients, np.zeros((1, 4, 0)))
  assert one == (pytest.approx(0.25), None, None, 1)
  (none,) = profile.nested_means(outcomes[:0], coefficients, np.zeros((0, 4, 0)))
  assert none == (None, None, None, 0)
  with pytest.raises(ValueError, match='outcomes, others'):
    profile.nested_means(outcomes, coefficients, np.zeros((1, 3, 0)))
