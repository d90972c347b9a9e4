"""What curves and IoUs amount to: metrics, statistics, priors, warnings. NumPy on the host."""
