"""Ctrl-C in a terminal, as a person presses it: an answer at once, and the way to go on."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from glta_cli.stages.pipeline import Pipeline

LONG = "finetune.training={epochs: 100000, patience: 100000, validate_every: 1000}"


class Terminal:
    """A command on a pseudo-terminal of 80 columns."""

    def __init__(self, arguments: list[str]) -> None:
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (24, 80))
        unwanted = ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "GLTA_QUIET")
        clean = {name: value for name, value in os.environ.items() if name not in unwanted}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "glta_cli", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**clean, "TERM": "xterm-256color"},
        )
        os.close(slave)
        self.shown = ""

    def read_until(self, pattern: str, seconds: float = 120) -> float:
        """Read until the pattern shows; returns how long that took."""
        begun = time.monotonic()
        while not re.search(pattern, self.shown):
            assert time.monotonic() - begun < seconds, self.shown
            if select.select([self.master], [], [], 0.5)[0]:
                self.shown += os.read(self.master, 65536).decode()
        return time.monotonic() - begun


@contextmanager
def terminal(*arguments: str) -> Iterator[Terminal]:
    shown = Terminal(list(arguments))
    try:
        yield shown
    finally:
        shown.process.kill()
        shown.process.wait()
        os.close(shown.master)


def test_ctrl_c_in_a_training_is_answered_at_once_and_the_next_command_goes_on(
    run_toy: Callable[..., Pipeline], toy_root: Path, tiny_recipe_file: Path
) -> None:
    run_toy(stage="align")
    command = ("finetune", "--recipe", str(tiny_recipe_file), "--run", "interrupted", "--data-dir", str(toy_root))
    command = (*command, "--device", "cpu", "--set", LONG)
    with terminal(*command) as shown:
        shown.read_until(r"fine-tune [2-9]\d*/100000 epochs .*loss \S+ ndcg@10 \.\d{4}")
        lines = re.findall(r"\r(  fine-tune [^\r\n]*)", shown.shown)
        assert all(len(re.sub(r"\x1b\[[\d;]*[A-Za-z]", "", line).rstrip()) <= 80 for line in lines)
        shown.process.send_signal(signal.SIGINT)
        assert shown.read_until(r"stopping after this step \(Ctrl-C again: now, from the last saved state\)") < 10
        shown.read_until(
            r"stopped by SIGINT after step \d+; state saved\s+hint: run the same command again to continue"
        )
        assert shown.process.wait(60) == 130
    [step] = re.findall(r"after step (\d+); state saved", shown.shown)
    with terminal(*command) as again:
        again.read_until(f"continuing after step {step}")
        again.read_until(r"fine-tune \d+/100000 epochs")
        again.process.send_signal(signal.SIGTERM)
        again.read_until(r"stopped by SIGTERM after step \d+; state saved")
        assert again.process.wait(60) == 143
