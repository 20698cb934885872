"""Graph-Language Token Alignment: large recommendation models, trained and served from a command line."""

__version__ = "0.2.0.dev0"
