"""Checkpoints: fetched, read, checked, converted, kept."""
