"""What lies on disk of a run, written and read in one place."""
