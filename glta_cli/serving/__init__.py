"""Serving: the published index and the recommender that reads it; NumPy and Polars, no torch."""
