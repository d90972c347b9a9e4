"""SimpleClick in Flax."""
