"""SimGCL for glta. This module imports nothing heavy: glta reads it at every start."""

from collections.abc import Iterable

from glta_cli.plugin import EncoderDeclaration, hookimpl

GLTA_API_VERSION = 1


@hookimpl
def glta_graph_encoders() -> Iterable[EncoderDeclaration]:
    yield EncoderDeclaration(
        name="simgcl",
        summary="SimGCL: contrast between noisy embeddings (Yu et al., SIGIR 2022)",
        target="glta_example.simgcl:SimGCL",
        config="glta_example.settings:SimGCLSettings",
    )
