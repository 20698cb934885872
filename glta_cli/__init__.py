"""Graph-Language Token Alignment: large recommendation models, trained and served from a command line."""

__version__ = "0.1.0"
