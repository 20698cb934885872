"""Stage 1: the interaction graph, its losses, and the pretraining of a graph encoder."""
