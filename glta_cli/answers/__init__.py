"""Answers: what a published run answers."""
