"""How long masking one batch may take; what is not looked at by then is hidden, and counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

BATCH_SECONDS: Final = 2.0  # a full ring takes about as long to fill at the highest rate; normal batches take some ms


class Budget:
    """Starts when it is made."""

    def __init__(self, seconds: float = BATCH_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = clock() + seconds
        self._over = False

    def over(self) -> bool:
        """Once over, over for good."""
        if not self._over and self._clock() >= self._end:
            self._over = True
        return self._over
