"""Calls itself without end when it is imported."""


def depth(of: int) -> int:
    return depth(of + 1)


depth(0)
