"""The promises of a backbone, subject by subject; `glta_cli.testing.backbone` puts them in order."""
