"""Ranking, metrics and the report: one protocol for every model."""
