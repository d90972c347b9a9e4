"""The report of heat maps: sums over instances, and one map as a picture."""
