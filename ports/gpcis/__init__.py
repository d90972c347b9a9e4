"""GPCIS in Flax."""
