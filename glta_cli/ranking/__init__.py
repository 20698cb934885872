"""Ranking and its metrics: one protocol for every model."""
