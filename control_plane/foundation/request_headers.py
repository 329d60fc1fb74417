"""The two headers that make a change safe to ask for: If-Match (RFC 9110, 13.1.1) and Idempotency-Key.

Two people edit the same thing: each sends the ETag that they read, the second one's is stale, nothing is lost. The
comparison stands in the same transaction as the change. Idempotency-Key is used in `foundation.idempotency`.
"""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Header

from control_plane.foundation.errors import Stale

MAX_HEADER: Final = 200  # characters; an ETag of ours has under 90, a key 8 to 200
ABSENT: Final = ""  # the ETag of what is not there: no header names it, so only a change without If-Match makes it

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match", max_length=MAX_HEADER, description="The ETag that you read; 412 when it has changed since."
    ),
]
IdempotencyKey = Annotated[
    str | None,
    Header(alias="Idempotency-Key", max_length=MAX_HEADER, description="A repeated request with it is done once."),
]


def check_match(what: str, etag: str, if_match: str | None) -> None:
    """Nothing when the caller gave no If-Match, or one that names this ETag. Raises Stale.

    `etag` is without quotes, ABSENT for what is not there. Weak tags never match: a change needs the exact bytes.
    """
    if if_match is None:
        return
    named = {one.strip() for one in if_match.split(",")}
    if etag != ABSENT and not named.isdisjoint({"*", quoted(etag), etag}):
        return
    raise Stale(f"{what} has changed since you looked: read it again", extra={"etag": etag})


def quoted(etag: str) -> str:
    """As the header ETag holds it."""
    return f'"{etag}"'
