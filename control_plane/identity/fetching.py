"""One request to an issuer -> its JSON. What comes from there is as hostile as what comes from a client.

Bounded in bytes while they arrive, in time as a whole (not only between two bytes), never redirected, and read strictly:
an object names everything once. Used by `discovery`, `jwks` and `relying_party`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
from datetime import timedelta
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import httpx

MAX_BYTES: Final = 256 * 1024  # a key set is some KiB, a discovery document about 4
TIMEOUT: Final = timedelta(seconds=5)  # for the whole answer, however slowly it drips
FETCH_FAILED: Final = (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError, TimeoutError)


async def fetch_json(client: httpx.AsyncClient, uri: str) -> dict[str, Any]:
    """Raises one of FETCH_FAILED; its text is for the server's log only."""
    status, document = await ask_json(client, "GET", uri)
    if status != httpx.codes.OK or not isinstance(document, dict):
        raise ValueError(f"{uri} answered {status}, expected 200 and a JSON object")
    return document


async def ask_json(
    client: httpx.AsyncClient,
    method: str,
    uri: str,
    form: dict[str, str] | None = None,
    credentials: tuple[str, str] | None = None,
) -> tuple[int, Any]:
    """Status and JSON, whatever the status. Raises one of FETCH_FAILED."""
    body = bytearray()
    headers = {"accept": "application/json", "accept-encoding": "identity"}  # what arrives is what is counted
    seconds = TIMEOUT.total_seconds()
    async with (
        asyncio.timeout(seconds),
        client.stream(
            method, uri, data=form, headers=headers, auth=credentials, follow_redirects=False, timeout=seconds
        ) as answer,
    ):
        async for chunk in answer.aiter_raw():
            body += chunk
            if len(body) > MAX_BYTES:
                raise ValueError(f"{uri} answered more than {MAX_BYTES} bytes")
    return answer.status_code, strict_json(bytes(body))


def strict_json(text: str | bytes) -> Any:
    """JSON whose objects name everything once: two readers must not see two documents. Raises ValueError."""
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError("the document is nested too deeply") from error


def checked_endpoint(uri: object, issuer: str) -> str:
    """An address that this issuer may name: as secure as its own, and no way into our network. Raises ValueError."""
    if not isinstance(uri, str):
        raise ValueError(f"{issuer} names no address where one is expected")  # noqa: TRY004 - one kind of refusal
    there, home = urlsplit(uri), urlsplit(issuer)
    if there.scheme not in {"https", home.scheme} or there.username is not None or there.fragment or not there.hostname:
        raise ValueError(f"{issuer} names {uri!r}: expected an https address without user and fragment")
    if _is_address(there) and there.hostname != home.hostname:
        raise ValueError(f"{issuer} names {uri!r}: an address in numbers must be the issuer's own")
    return uri


def _is_address(parts: SplitResult) -> bool:
    host = parts.hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return True


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object names something twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
