"""The token that callers bring: from a file or the environment, never from the command line, which all can read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from glta_cli.core.errors import InputError

VARIABLE: Final = "GLTA_TOKEN"
LEAST_CHARACTERS: Final = 16
MAKE_ONE: Final = "python -c 'import secrets; print(secrets.token_urlsafe())' > token.txt makes one"


def token_from(file: Path | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """The token of that file, or else of GLTA_TOKEN; None where there is neither.

    Raises:
        InputError: the file cannot be read, or holds no token; the token is too short to be one.
    """
    if file is None:
        given = environment.get(VARIABLE)
        return None if given is None else _checked(given.strip(), VARIABLE)
    try:
        text = file.read_text(encoding="ascii")
    except OSError as error:
        problem = f"cannot be read: {error.strerror or error}"
        raise InputError(problem, location=str(file), hint=MAKE_ONE) from error
    except UnicodeDecodeError as error:
        raise InputError("holds no token: it is no text in ASCII", location=str(file), hint=MAKE_ONE) from error
    return _checked(text.strip(), str(file))


def required_off_loopback(host: str) -> InputError:
    """The error of a service that others than this machine could ask without a token."""
    return InputError(
        f"{host} can be asked by other machines, and there is no token",
        location="--host",
        hint=f"--token-file FILE, or the variable {VARIABLE}; {MAKE_ONE}",
    )


def _checked(token: str, where: str) -> str:
    if not token.isascii() or not token.isprintable() or " " in token:
        raise InputError("holds no token: letters, digits and signs alone are sent", location=where, hint=MAKE_ONE)
    if len(token) < LEAST_CHARACTERS:
        what = f"a token of {len(token)} characters can be guessed" if token else "holds no token"
        raise InputError(what, location=where, hint=f"take {LEAST_CHARACTERS} characters or more; {MAKE_ONE}")
    return token
