"""Remember, over restarts, the newest version of each tracepoint: an older one is a replay.

A small JSON file in the agent's state directory, replaced atomically. An entry is kept until no older version could
still be in time. A file that cannot be read or written refuses: forgetting would let a replay in.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from agents.admission.model import CLOCK_SKEW, HOST_OWNER, MAX_SPEC_LIFETIME

MAX_REMEMBERED: Final = 20_000  # tracepoints in MAX_SPEC_LIFETIME; 3 MB of file, far beyond what one host is asked
FORGET_AFTER: Final = MAX_SPEC_LIFETIME + 2 * CLOCK_SKEW  # an older version was issued before, so it is over by then


class StateUnusable(Exception):
    """The file is damaged or cannot be written."""


class Replay(Exception):
    """An older version than one that was seen, or the same number with other content."""


class Ended(Exception):
    """This version ran here and came to its end; `reason` says which. It does not start again."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"this version has ended on this host: {reason}")
        self.reason = reason


class StoppedHere(Exception):
    """The host's owner ended an earlier version: no later one of the same tracepoint runs here."""


@dataclass(frozen=True)
class Seen:
    version: int
    payload: str  # "sha256:<hex>" of the signed payload
    issued_at: float  # unix seconds, of the newest version
    first_seen: float  # unix seconds, of the newest version: its TTL counts from here, restarts or not
    ended: str = ""  # why it came to its end here; "" while it may run


class SeenVersions:
    """One agent's memory. Not for two processes at once: the state directory belongs to one agent."""

    def __init__(self, path: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._path = path
        self._now = now
        self._seen = _read(path)
        self._lock = threading.Lock()  # admissions and ends are written from several threads

    def record(self, tracepoint_id: str, version: int, payload: str, issued_at: datetime) -> datetime:
        """Note this version; returns when it was first seen. Raises Replay, Ended, StoppedHere, StateUnusable."""
        with self._lock:
            return self._record(tracepoint_id, version, payload, issued_at)

    def retire(self, tracepoint_id: str, version: int, reason: str) -> None:
        """This version has ended for good, unless a newer one came meanwhile. Raises StateUnusable."""
        self.retire_all([(tracepoint_id, version, reason)])

    def retire_all(self, ends: Sequence[tuple[str, int, str]]) -> None:
        """(tracepoint, version, reason) each, in one writing. The first reason of an end stays."""
        with self._lock:
            ended: dict[str, Seen] = {}
            for tracepoint_id, version, reason in ends:
                known = self._seen.get(tracepoint_id)
                if known is not None and known.version == version and not known.ended and tracepoint_id not in ended:
                    ended[tracepoint_id] = replace(known, ended=reason)
            if ended:
                kept = self._seen | ended
                _write(self._path, kept)
                self._seen = kept

    def _record(self, tracepoint_id: str, version: int, payload: str, issued_at: datetime) -> datetime:
        known = self._seen.get(tracepoint_id)
        if known is not None and version < known.version:
            raise Replay(f"version {version} is older than version {known.version}, which this agent has seen")
        if known is not None and version == known.version:
            if known.payload != payload:
                raise Replay(f"version {version} was seen before with other content; a change needs a higher version")
            if known.ended:
                raise Ended(known.ended)
            return datetime.fromtimestamp(known.first_seen, UTC)
        now = self._now()
        stopped = known is not None and known.ended == HOST_OWNER
        seen = Seen(version, payload, issued_at.timestamp(), now.timestamp())
        if known is not None and stopped:
            seen = replace(known, issued_at=issued_at.timestamp())  # as long as somebody goes on asking
        kept = self._kept(now) | {tracepoint_id: seen}
        if len(kept) > MAX_REMEMBERED:
            raise StateUnusable(f"{self._path} remembers {MAX_REMEMBERED} tracepoints already; no more are admitted")
        _write(self._path, kept)
        self._seen = kept
        if stopped:
            raise StoppedHere("the host's owner stopped it on this host, and renewals do not bring it back")
        return now

    def _kept(self, now: datetime) -> dict[str, Seen]:
        horizon = (now - FORGET_AFTER).timestamp()
        return {key: seen for key, seen in self._seen.items() if seen.issued_at > horizon}


def _read(path: Path) -> dict[str, Seen]:
    try:
        text = path.read_text()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StateUnusable(f"{path} cannot be read: {error}") from error
    try:
        return {str(key): Seen(**value) for key, value in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise StateUnusable(
            f"{path} is damaged ({error}). It keeps replayed specs out: restore it, or delete it and enrol the agent"
            " again, so that what was signed for its old identity is worthless"
        ) from error


def _write(path: Path, seen: dict[str, Seen]) -> None:
    half = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with half.open("w") as file:
            json.dump({key: asdict(value) for key, value in seen.items()}, file)
            file.flush()
            os.fsync(file.fileno())
        half.rename(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the rename itself must survive a power cut
        finally:
            os.close(folder)
    except OSError as error:
        raise StateUnusable(f"{path} cannot be written: {error}") from error
