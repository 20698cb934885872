"""What `glta doctor` finds of the machine, the packages, the plugins, and what of the network is reachable."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Literal

PACKAGES = ("torch", "transformers", "tokenizers", "peft", "torch-geometric", "polars", "pydantic", "numpy", "typer")
# What a processor may have for the numbers of language models, the fastest first.
INSTRUCTIONS = {"amx_bf16": "AMX for bfloat16", "avx512_bf16": "AVX-512 for bfloat16", "avx512f": "AVX-512"}
PATIENCE_SECONDS = 4.0
# pip itself takes a second or two to start.
PATIENCE_SECONDS_OF_PIP = 12.0


@dataclass(frozen=True)
class Finding:
    """One fact.

    Attributes:
        state: `broken` keeps glta from working; `warning` keeps a part of it, or what it has cost is worth a look.
    """

    subject: str
    name: str
    value: str
    state: Literal["ok", "warning", "broken"] = "ok"
    hint: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def machine_findings() -> Iterator[Finding]:
    """Python, the packages, torch with its device, threads, memory, and the plugins."""
    yield Finding("machine", "python", f"{platform.python_version()} at {sys.executable}")
    yield Finding("machine", "platform", platform.platform())
    yield from _package_findings()
    yield from _torch_findings()
    yield from _plugin_findings()


def _package_findings() -> Iterator[Finding]:
    yield Finding("machine", "glta", _version("glta") or "not installed")
    versions = {name: _version(name) for name in PACKAGES}
    yield Finding("machine", "packages", ", ".join(f"{name} {found}" for name, found in versions.items() if found))
    missing = [name for name in _required() if _version(name) is None]
    if missing:
        hint = f"pip install {' '.join(missing)}"
        yield Finding("machine", "packages", f"not installed: {', '.join(missing)}", "broken", hint)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _required() -> list[str]:
    """The packages glta cannot do without, as its own metadata have them."""
    try:
        listed = requires("glta") or []
    except PackageNotFoundError:
        return []
    names = (re.match(r"[\w.-]+", line) for line in listed if "extra ==" not in line)
    return [name[0] for name in names if name]


def _torch_findings() -> Iterator[Finding]:
    try:
        import torch

        from glta_cli.core.threads import chosen_threads
        from glta_cli.plugin.architecture import choose_dtype
        from glta_cli.training.loop import pick_device

        device = pick_device(None)
        dtype = str(choose_dtype("auto", device)).removeprefix("torch.")
    except Exception as error:
        problem = f"torch cannot be used: {type(error).__name__}: {error}".splitlines()[0]
        yield Finding("computing", "device", problem, "broken", "pip install --force-reinstall torch")
        return
    named = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    yield Finding("computing", "device", f"{device.type}: {named}")
    yield Finding("computing", "numbers", f"{dtype} unless a recipe says otherwise{_has_instructions()}")
    yield Finding("computing", "threads", str(chosen_threads(torch.get_num_threads())))
    memory = _memory()
    if memory is not None:
        yield Finding("computing", "memory", memory)


def _processor() -> str:
    model = _cpuinfo("model name") or platform.processor() or platform.machine()
    return f"{model}, {os.cpu_count()} processors"


def _has_instructions() -> str:
    flags = set((_cpuinfo("flags") or "").split())
    found = next((words for flag, words in INSTRUCTIONS.items() if flag in flags), None)
    return f"; the processor has {found}" if found else ""


def _cpuinfo(key: str) -> str | None:
    """What Linux says of the first processor; None where nobody says."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key), None)


def _memory() -> str | None:
    from glta_cli.core.storage import shown_bytes

    try:
        page = os.sysconf("SC_PAGE_SIZE")
        total, free = (page * os.sysconf(name) for name in ("SC_PHYS_PAGES", "SC_AVPHYS_PAGES"))
    except (ValueError, OSError, AttributeError):
        return None
    return f"{shown_bytes(total)}, {shown_bytes(free)} of it unused"


def _plugin_findings() -> Iterator[Finding]:
    from glta_cli.commands.plugins import rows
    from glta_cli.plugin.component import OWN_DISTRIBUTION
    from glta_cli.plugin.registry import Registry

    listed = rows(Registry())
    wrong = [row for row in listed if row["status"] != "ok"]
    origins = dict.fromkeys(f"{row['distribution']} {row['version']}" for row in listed)
    yield Finding("plugins", "plugins", f"{len(listed) - len(wrong)} components of {', '.join(origins)}")
    for row in wrong:
        own = row["distribution"] == OWN_DISTRIBUTION and row["kind"] == "plugin"
        hint = "reinstall glta" if own else f"pip uninstall {row['distribution']}, or --no-plugins"
        where = f"{row['kind']} {row['name']} of {row['distribution']} {row['version']}"
        yield Finding("plugins", "plugins", f"{where}: {row['status']}", "broken" if own else "warning", hint)


# ------------------------------------------------------------------------------------------------ the network


def reachability_findings() -> Iterator[Finding]:
    """Whether the hub and the package index answer, both asked at once; no host is named: it may hold a password."""
    asked = {
        "hub": (hub_problem, "what is in its cache is used; a model's folder can be copied here"),
        "PyPI": (index_problem, "what was downloaded before is used; wheels can be copied here"),
    }
    answers = {name: _asked(ask) for name, (ask, _) in asked.items()}
    for name, (_, hint) in asked.items():
        try:
            problem = answers[name].get(timeout=PATIENCE_SECONDS_OF_PIP)
        except Empty:
            problem = "no answer in time"
        if problem is None:
            yield Finding("network", name, "reachable")
        else:
            yield Finding("network", name, f"not reachable: {problem}", "warning", hint)


def _asked(ask: Callable[[], str | None]) -> SimpleQueue[str | None]:
    """Where the answer comes; nobody waits for a name server that does not answer, which blocks past every timeout."""
    answer: SimpleQueue[str | None] = SimpleQueue()
    Thread(target=lambda: answer.put(ask()), daemon=True).start()
    return answer


def hub_problem(head: Callable[..., Any] | None = None) -> str | None:
    """Why the Hugging Face hub cannot be asked; None where it answers."""
    import httpx
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return "HF_HUB_OFFLINE is set"
    try:
        (head or httpx.head)(constants.ENDPOINT, timeout=PATIENCE_SECONDS, follow_redirects=False)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        return type(error).__name__
    return None


def index_problem() -> str | None:
    """Why pip cannot ask the package index it is set to; None where that answers."""
    command = [sys.executable, "-m", "pip", "index", "versions", "pip", "--retries=0", "--no-input"]
    command += ["--disable-pip-version-check", "--quiet", f"--timeout={PATIENCE_SECONDS:.0f}"]
    try:
        asked = subprocess.run(command, capture_output=True, timeout=PATIENCE_SECONDS_OF_PIP - 1, check=False)
    except subprocess.TimeoutExpired:
        return "no answer in time"
    except OSError as error:
        return type(error).__name__
    if asked.returncode == 0:
        return None
    return "there is no pip" if b"No module named pip" in asked.stderr else "pip finds nothing there"
