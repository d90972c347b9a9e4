"""CDNet in Flax."""
