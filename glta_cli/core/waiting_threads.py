"""How long threads that wait for the next work of a pool keep their processor: set before the pool's library is loaded.

By default libgomp, which torch brings, looks 300,000 times, about a millisecond, before a thread sleeps. On an idle
machine that gains nothing over the thousand looks set here, some microseconds; on a busy one it takes the time of the
thread that is waited for. `KMP_BLOCKTIME` says the same to LLVM's and Intel's libraries, in milliseconds.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

# What a user says of it is left as it is said.
SAID_BY_USERS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
PATIENT = {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "0"}


def wait_patiently(environment: MutableMapping[str, str] = os.environ) -> None:
    """Have waiting threads sleep soon, unless the user said how they wait."""
    if not any(environment.get(name) for name in SAID_BY_USERS):
        environment.update(PATIENT)
