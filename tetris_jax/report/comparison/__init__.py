"""Runs beside each other: scores and ranks, tables, the page."""
