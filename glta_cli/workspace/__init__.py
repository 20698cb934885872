"""Where datasets, stages and runs live: published folders with manifests, names for runs, locks."""

# Packages written by `glta plugins new backbone` of 0.1 import these two from here; they are part of `glta_cli.plugin`.
from glta_cli.core.files import fingerprint as fingerprint
from glta_cli.core.files import remembered_sha256 as remembered_sha256
