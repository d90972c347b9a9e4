"""AdaptiveClick in Flax."""
