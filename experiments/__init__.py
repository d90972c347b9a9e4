"""Command lines: attacks, weights, benchmarks."""
