"""Ctrl-C and SIGTERM during long work: answered at once, obeyed after the step, and the second one now."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from glta_cli.core.errors import GltaError, InterruptedRunError
from glta_cli.core.interruption import asked_to_stop, stop_if_asked, stops_after
from glta_cli.core.progress import progress_bar

SIGNALS = [signal.SIGINT, signal.SIGTERM]

# Minutes inside one call of C, where Python runs no handler.
COMPUTES = """
import hashlib, sys
from glta_cli.core.interruption import stops_after
try:
    with stops_after("the fit of ease", kept="ease is fitted again"):
        print("computing", flush=True)
        hashlib.pbkdf2_hmac("sha256", b"", b"", 200_000_000)
except BaseException as error:
    print(repr(error), flush=True)
"""


@contextmanager
def started(code: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_computation_that_cannot_be_cut_short_is_no_silence() -> None:
    with started(COMPUTES) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "computing\n"
        process.send_signal(signal.SIGINT)
        sent = time.monotonic()
        assert process.stderr.readline() == "stopping after the fit of ease (Ctrl-C again: now)\n"
        assert time.monotonic() - sent < 2
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline() == "stopping now: ease is fitted again\n"
        assert process.wait(timeout=30) == 130
        assert time.monotonic() - sent < 20


AT_ONCE = COMPUTES.replace('stops_after("the fit of ease", ', "stops_at_once(").replace(
    "import stops_after", "import *"
)


def test_work_without_steps_ends_with_the_first_one_or_says_that_it_cannot_yet() -> None:
    with started(AT_ONCE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "computing\n"
        time.sleep(0.5)  # it says so before it begins, and Python answers until then
        process.send_signal(signal.SIGINT)
        told = "stopping once this computation is over (Ctrl-C again: now); ease is fitted again\n"
        assert process.stderr.readline() == told
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline() == "stopping now: ease is fitted again\n"
        assert process.wait(timeout=30) == 130
    with started(AT_ONCE.replace("hashlib.pbkdf2_hmac(", "import time; time.sleep(60); (")) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "computing\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "KeyboardInterrupt()\n"
        assert process.stderr.read().startswith("stopping now: ease is fitted again\n")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_bar_stops_when_it_is_next_moved(number: signal.Signals, capfd: pytest.CaptureFixture) -> None:
    moved = []

    def encode() -> None:
        with progress_bar(9, "encode", "items", step="this batch", kept="3 vectors are kept") as bar:
            for place in range(9):
                if place == 2:
                    os.kill(os.getpid(), number)
                moved.append(place)
                bar.update(1)

    with pytest.raises(InterruptedRunError) as caught:
        encode()
    assert len(moved) == 3
    assert caught.value.signal_number == number
    assert str(caught.value).splitlines() == [
        f"stopped by {number.name}: 3 vectors are kept",
        "  hint: run the same command again to continue",
    ]
    assert "stopping after this batch (Ctrl-C again: now)\n" in capfd.readouterr().err


def test_the_second_one_ends_it_now(capfd: pytest.CaptureFixture) -> None:
    reached = []

    def work() -> None:
        with stops_after("this step", kept="step 4 is kept"):
            os.kill(os.getpid(), signal.SIGINT)
            reached.append(asked_to_stop())
            os.kill(os.getpid(), signal.SIGINT)
            reached.append(None)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert reached == [signal.SIGINT]
    assert asked_to_stop() is None
    assert "stopping now: step 4 is kept\n  hint: run the same command again" in capfd.readouterr().err


def test_the_innermost_section_has_the_word_and_the_outermost_the_end(capfd: pytest.CaptureFixture) -> None:
    done = []

    def evaluate() -> None:
        with stops_after("this row", kept="rows are kept", now="now, without this row"):
            with stops_after("this fit"):
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.5)  # whoever speaks is another thread
                done.append("fitted")
            done.append("published")
            stop_if_asked()
            done.append("ranked")

    with pytest.raises(InterruptedRunError, match="rows are kept"):
        evaluate()
    assert done == ["fitted", "published"]
    assert "stopping after this fit (Ctrl-C again: now, without this row)" in capfd.readouterr().err


def test_a_signal_nobody_asked_about_is_not_lost() -> None:
    with pytest.raises(InterruptedRunError), stops_after("this step", kept="it is kept"):
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_after_the_last_look_for_one_is_not_lost(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    install, sent = signal.signal, []

    def late(which: int, handler: object) -> object:
        if not sent:
            # The work is done, the handlers are about to go, and this one still stands.
            sent.append(which)
            os.kill(os.getpid(), number)
        return install(which, handler)  # type: ignore[arg-type]

    before = signal.getsignal(number)

    def work() -> None:
        with stops_after("this step", kept="it is kept"):
            stop_if_asked()
            monkeypatch.setattr(signal, "signal", late)

    with pytest.raises(InterruptedRunError, match="it is kept") as caught:
        work()
    assert sent
    assert caught.value.signal_number == number
    assert asked_to_stop() is None
    assert signal.getsignal(number) is before
    # Nobody asked the next one to stop.
    with stops_after("this step", kept="it is kept"):
        stop_if_asked()


def test_a_failure_after_a_signal_does_not_let_the_work_go_on() -> None:
    done = []

    def rank() -> None:
        for row in ("ease", "text-only"):
            try:
                with stops_after("this row", kept="rows are kept"):
                    done.append(row)
                    os.kill(os.getpid(), signal.SIGINT)
                    raise GltaError(f"{row} cannot be fitted")
            except GltaError:
                continue

    with pytest.raises(InterruptedRunError, match="rows are kept"):
        rank()
    assert done == ["ease"]


def test_whoever_tries_again_after_an_error_does_not_after_a_signal() -> None:
    assert not issubclass(InterruptedRunError, (GltaError, Exception))


def test_another_thread_works_without_a_word() -> None:
    done = []

    def work() -> None:
        with progress_bar(1, "rank", "users") as bar:
            bar.update(1)
            done.append(1)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [1]


def test_a_signal_to_be_ignored_is_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stops_after("this step", kept="it is kept"):
            os.kill(os.getpid(), signal.SIGINT)
            stop_if_asked()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
