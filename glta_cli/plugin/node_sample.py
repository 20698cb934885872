"""A sample of some nodes' neighbourhoods: a small graph on which those nodes are embedded."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class NodeSample:
    """Nodes that are wanted, some of their neighbours, some of theirs, and so on; and the edges they were found by.

    Attributes:
        nodes: which nodes of the graph, int64 [n], the wanted ones first.
        wanted: how many of them are wanted.
        targets: the end of each edge that is reached, by its place in `nodes`, int64 [m].
        sources: the other end, likewise.
        weights: A of each edge times the target's degree over the edges of it that were sampled, float32 [m]: the mean
            of a product over all samples is the product with A, and where every neighbour is sampled it is that.
        hops: how often the neighbours of what was found were sampled; after as many propagations the wanted nodes
            are what they are in the whole graph, but for the sampling.

    Source: Hamilton et al., Inductive Representation Learning on Large Graphs, NeurIPS 2017, algorithm 2.
    """

    nodes: Tensor
    wanted: int
    targets: Tensor
    sources: Tensor
    weights: Tensor
    hops: int

    def propagate(self, vectors: Tensor) -> Tensor:
        """What A makes of the nodes' vectors, as far as it was sampled: [n, d] -> [n, d], differentiable."""
        messages = vectors[self.sources] * self.weights[:, None]  # [m, d]
        return vectors.new_zeros(vectors.shape).index_add(0, self.targets, messages)

    def layer_mean(self, vectors: Tensor, layers: int) -> Tensor:
        """Mean of vectors, A·vectors, ..., A^layers·vectors: [n, d] -> [n, d], differentiable.

        Source: He et al., LightGCN, SIGIR 2020, equation 4 with uniform layer weights.
        """
        mean = vectors
        for layer in range(1, layers + 1):
            mean = self.propagate(mean).lerp(vectors, 1 / (layer + 1))
        return mean
