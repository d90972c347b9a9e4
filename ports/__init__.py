"""Models of the field in Flax, with the strict conversion of their published weights."""
