"""What needs somebody who has just shown who they are: Principal -> nothing, or StepUpRequired that says what would do.

RFC 9470: the answer names the greatest age of a sign-in and the strength it must have had; a client that signs in again
with these goes on. A sign-in of which the issuer says no time, or no strength where one is demanded, is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from control_plane.foundation.errors import StepUpRequired
from control_plane.identity.model import Principal
from control_plane.identity.signed_claims import LEEWAY


@dataclass(frozen=True)
class StepUp:
    """`classes` are values of `acr` of which one must be there; none are demanded when it is empty."""

    age: timedelta
    classes: tuple[str, ...] = ()

    def check(self, principal: Principal, now: datetime, what: str) -> None:
        """Raises StepUpRequired."""
        shown = principal.authenticated_at
        lacking = []
        if shown is None or now - shown > self.age + LEEWAY:
            lacking.append(f"a sign-in of the last {int(self.age.total_seconds()) // 60} minutes")
        if self.classes and principal.context_class not in self.classes:
            lacking.append(f"one of the strength {' or '.join(self.classes)}")
        if lacking:
            raise StepUpRequired(
                f"{what} needs {' and '.join(lacking)}: sign in again",
                extra={"max_age": int(self.age.total_seconds()), "acr_values": " ".join(self.classes)},
            )
