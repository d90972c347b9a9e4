"""CFR-ICL: SimpleClick's network, trained on its own masks and run in a cascade."""
