"""A published run over HTTP: `glta serve` (extra `serve`)."""
