"""The report of one attack: summary, tables, curves, pictures."""
