"""What a person reads of a run: summary, tables, figures, pictures of single instances."""
