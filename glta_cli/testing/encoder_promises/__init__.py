"""The promises of a graph encoder, subject by subject; `glta_cli.testing.encoder` puts them in order."""
