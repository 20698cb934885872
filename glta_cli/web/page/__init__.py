"""The page at `/`: its files, and the routes that give them."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter(include_in_schema=False)
"""Routes of the page: `/`, and its files below `/page/`, which are given without a token (`guards.py`)."""
