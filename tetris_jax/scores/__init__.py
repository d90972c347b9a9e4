"""What curves and IoUs amount to: metrics, click priors, warnings. NumPy on the host."""
