"""Promises of a component, checked one by one, and all that are broken reported together."""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from glta_cli.core.errors import GltaError
from glta_cli.plugin import BaselineDeclaration, Kind, TunableDeclaration
from glta_cli.plugin.component import ENDED, OWN_DISTRIBUTION, Component, reason_of
from glta_cli.plugin.grids import combinations
from glta_cli.plugin.registry import installed
from glta_cli.recipe.selection import own_settings

MOST_COMBINATIONS = 16
HEAVY = ("torch", "transformers")
ASKED_BY = {"text_vectors": "needs_text_vectors", "histories": "reads_histories"}
# Lines of these packages are not the author's; glta_cli's are those of the kit.
NOT_THE_AUTHORS = frozenset(
    {"glta_cli", "numpy", "polars", "pydantic", "safetensors", "scipy", "torch", "transformers"}
)

MODULES_AFTER_SELECTION = """
import sys
from glta_cli.plugin.registry import installed
installed().find({kind!r}, {name!r}).config()
print(*sys.modules)
"""


class ContractError(AssertionError):
    """A component breaks the contract of its kind; the message holds every promise it breaks, and how."""


class Contract:
    """Collects what a component breaks.

    Args:
        component: whose promises are checked, as the report names it.

    Raises:
        ContractError: Python runs without assertions, so that every promise would seem to be kept.
    """

    def __init__(self, component: str) -> None:
        if not __debug__:
            raise ContractError(f"{component} cannot be checked: assertions are off; run Python without -O")
        self.component = component
        self.promises = 0
        self.breaches: list[str] = []
        self.raised: list[BaseException] = []

    @contextmanager
    def promise(self, text: str, *, decisive: bool = False) -> Iterator[None]:
        """What is raised inside breaks the promise `text`; after a `decisive` one nothing else is checked."""
        self.promises += 1
        try:
            yield
        except ENDED:
            raise
        except BaseException as error:
            told = isinstance(error, (AssertionError, GltaError)) and str(error)
            found = str(error) if told else f"{reason_of(error)}{_line_of(error)}"
            self.breaches.append("\n      ".join([text, *found.splitlines()]))
            if not isinstance(error, AssertionError):
                self.raised.append(error)
            if decisive:
                self.settle()

    def settle(self) -> None:
        """Raise `ContractError` if any promise was broken; what the component raised is its cause."""
        if not self.breaches:
            return
        count = len(self.breaches)
        title = f"{self.component} breaks {count} promise{'s' if count > 1 else ''} of its kind"
        # Its traceback leads to the place in the component's code.
        several = len(self.raised) > 1
        cause = BaseExceptionGroup("what was raised", self.raised) if several else next(iter(self.raised), None)
        raise ContractError("\n  - ".join([title, *self.breaches])) from cause


def _line_of(error: BaseException) -> str:
    """The last line that is neither glta's nor a library's, where there is one."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not NOT_THE_AUTHORS & {*Path(frame.filename).parts}]
    return f" ({own[-1].filename}:{own[-1].lineno})" if own else ""


def declared(
    contract: Contract, kind: Kind, name: str, options: Mapping[str, Any] | None = None
) -> tuple[Component, BaseModel]:
    """The component of that kind and name with its settings, after the promises every kind makes.

    Args:
        options: settings that differ from their defaults, as a recipe would hold them.
    """
    with contract.promise("a plugin that is installed declares it", decisive=True):
        component = installed().find(kind, name)
    with contract.promise(
        "its settings are an importable subclass of glta_cli.plugin.Settings that takes no unknown keys", decisive=True
    ):
        model = component.config()
    with contract.promise("every setting has a description, for `glta plugins show`"):
        silent = [field for field, info in model.model_fields.items() if not info.description]
        assert not silent, f"without: {', '.join(silent)}"
    with contract.promise("its settings need nothing but what the test gives, and take that", decisive=True):
        settings = own_settings(kind, name, dict(options or {}), ("options",))
    if isinstance(component.declaration, TunableDeclaration):
        with contract.promise(
            f"its grid is of its own settings, of at most {MOST_COMBINATIONS} combinations, all valid"
        ):
            _check_grid(component.declaration, dict(options or {}))
    with contract.promise("its code is imported when a run needs it: declaring and checking settings import no torch"):
        _check_laziness(component)
    with contract.promise("its target can be imported", decisive=True):
        target = component.target()
    if isinstance(component.declaration, TunableDeclaration) and component.declaration.asks_for is not None:
        with contract.promise("it asks for what its declaration says it asks for"):
            asked = {what for what, attribute in ASKED_BY.items() if getattr(target, attribute, False)}
            declared = set(component.declaration.asks_for)
            assert asked == declared, f"declared: {sorted(declared)}; asked for by the class: {sorted(asked)}"
    return component, settings


def _check_grid(declaration: TunableDeclaration, options: Mapping[str, Any]) -> None:
    grids = [declaration.grid]
    if isinstance(declaration, BaselineDeclaration):
        grids.append(declaration.time_grid)
    for grid in grids:
        assert len(combinations(grid)) <= MOST_COMBINATIONS, f"it has {len(combinations(grid))}"
    for combination in combinations({name: values for grid in grids for name, values in grid.items()}):
        own_settings(declaration.kind, declaration.name, {**options, **combination}, ("grid",))


def _check_laziness(component: Component) -> None:
    code = MODULES_AFTER_SELECTION.format(kind=component.kind, name=component.name)
    distribution = component.origin.distribution
    # What other plugins import when they are declared is not this one's doing.
    loaded = "" if distribution == OWN_DISTRIBUTION else distribution
    finished = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "GLTA_LOAD_PLUGINS": loaded},
    )
    assert finished.returncode == 0, finished.stderr.strip()
    modules = set(finished.stdout.split())
    target = component.declaration.target.partition(":")[0]
    early = [module for module in (*HEAVY, target) if module in modules]
    assert not early, f"imported at once: {', '.join(early)}"
