"""Recipes: the settings of a run, read from YAML, checked, and the one place where a default lives."""
