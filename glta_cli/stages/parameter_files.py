"""The names of the files with an encoder's parameters, for whoever only asks whether an artefact has them."""

from __future__ import annotations

# The parameters behind each graph, from which the vectors of one with more interactions follow without a training.
# What 0.1 published has none.
FULL_PARAMETERS = "full-parameters.safetensors"
ALIGNMENT_PARAMETERS = "alignment-parameters.safetensors"
