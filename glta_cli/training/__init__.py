"""The one training loop, its losses, and what is measured of it."""
