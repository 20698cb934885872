"""A process that has imported glta and runs commands of it, each in a fork of its own: requests and answers in JSON.

Started by `Commands` of `test_storm.py`. A request is one line on stdin, the answer one line on stdout:

    {"words": [...]}                    the command line after `glta`
    {..., "kill_after": 0.5}            SIGKILL after so many seconds
    {..., "fault": [folder, kind, at, errno]}   as `faults_arm` of faults.c
    {"shell": "mount ..."}              a command of the shell, where this process is
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

KINDS = ("write", "fsync", "rename", "mkdir")


def import_everything() -> None:
    """Whatever a command would import on its way, but for what a plugin brings."""
    import torch

    torch.set_num_threads(1)
    import glta_cli.data.preparation
    import glta_cli.evaluation.evaluate
    import glta_cli.language.answers
    import glta_cli.main
    import glta_cli.serving.recommender
    import glta_cli.stages.order
    import glta_cli.stages.verification  # noqa: F401
    from glta_cli.plugin.registry import installed

    for kind, name in (("dataset", "table"), ("encoder", "lightgcn"), ("backbone", "tiny")):
        installed().find(kind, name).target()


def in_child(request: dict[str, Any], folder: Path, faults: Any) -> None:
    """Run the command, as its own process would; never returns."""
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), number)
    code: Any = 0
    try:
        if "fault" in request:
            place, kind, at, number = request["fault"]
            faults.faults_arm(place.encode(), KINDS.index(kind) if kind else -1, at, number)
        sys.argv = ["glta", *request["words"]]
        from glta_cli.main import main

        main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 99
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        if faults is not None:
            counts = {kind: faults.faults_count(place) for place, kind in enumerate(KINDS)}
            (folder / "counts").write_text(json.dumps(counts))
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def answer(request: dict[str, Any], faults: Any) -> dict[str, Any]:
    if "shell" in request:
        finished = subprocess.run(request["shell"], shell=True, capture_output=True, text=True)
        return {"code": finished.returncode, "out": finished.stdout, "err": finished.stderr}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        child = os.fork()
        if child == 0:
            in_child(request, folder, faults)
        deadline = time.monotonic() + request.get("kill_after", 120)
        killed = False
        while True:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                break
            if time.monotonic() > deadline and not killed:
                os.kill(child, signal.SIGKILL)
                killed = True
            time.sleep(0.002)
        texts = {name: (folder / name).read_text() for name in ("out", "err") if (folder / name).exists()}
        counts = json.loads((folder / "counts").read_text()) if (folder / "counts").exists() else {}
        return {"code": os.waitstatus_to_exitcode(status), "counts": counts, "out": "", "err": "", **texts}


def main() -> None:
    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    faults = ctypes.CDLL(os.environ["LD_PRELOAD"]) if os.environ.get("LD_PRELOAD") else None
    if faults is not None:
        faults.faults_count.restype = ctypes.c_long
        faults.faults_arm.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_long, ctypes.c_int]
    import_everything()
    for line in requests:
        print(json.dumps(answer(json.loads(line), faults)), file=answers, flush=True)


if __name__ == "__main__":
    main()
