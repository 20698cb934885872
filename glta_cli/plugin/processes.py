"""How many processes a command was started as, for backbones whose weights several of them hold together."""

from __future__ import annotations

from glta_cli.core.world import launched, team


def processes_started() -> int:
    """Processes of this command, by `--processes N`, torchrun or accelerate; 1 without them.

    Example:
        from glta_cli.plugin import processes_started

        assert processes_started() >= 1
    """
    return launched().size


def processes_together() -> int:
    """Processes that do the present work together, all at the same place of it; 1 where this one works alone.

    They are then all of those of torch.distributed's default group.

    Example:
        from glta_cli.plugin import processes_started, processes_together

        assert processes_together() in (1, processes_started())
    """
    return team().size


def decided_together(choice: bool) -> bool:
    """What the first of the processes that work together chose, for all of them: machines need not be alike.

    All of them call it, at the same place of their work.

    Example:
        from glta_cli.plugin import decided_together

        assert decided_together(True)
    """
    return team().broadcast(choice)
