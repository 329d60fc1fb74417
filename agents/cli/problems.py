"""What can go wrong with a command -> one line on stderr that says what to do, and the exit status of DESIGN.md."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import IO

import click

from agents.admission.model import RefusalReason, Refused
from agents.binaries.model import Unresolved
from agents.compiler.model import CannotCompile
from agents.processes.model import NoProcess
from agents.runtime.model import ArmFailed, ArmReason
from agents.settings import BadSettings
from language.errors import TemplateError


class Exit(IntEnum):
    DONE = 0
    FAILED = 1
    BAD_TEMPLATE = 2  # also click's status for a command line that cannot be read
    CANNOT_BIND = 3
    NOT_PERMITTED = 4


class Stop(click.ClickException):
    """Ends the command. `reason` is a stable word, the message is for a person."""

    def __init__(self, status: Exit, reason: str, message: str, **details: object) -> None:
        super().__init__(message)
        self.exit_code = int(status)  # type: ignore[misc]  # click reads it from the instance too
        self.reason = reason
        self.details = details

    def show(self, file: IO[str] | None = None) -> None:
        click.echo(f"probegate-agent: {self.message}", file=file or sys.stderr)


@contextmanager
def reported() -> Iterator[None]:
    """Turns the errors of the stages into Stop."""
    try:
        yield
    except TemplateError as error:
        raise bad_template(error) from error
    except (NoProcess, Unresolved) as error:
        raise Stop(Exit.CANNOT_BIND, error.reason, f"cannot bind ({error.reason}): {error.detail}") from error
    except CannotCompile as error:
        where = f"column {error.column!r}: " if error.column else ""
        raise Stop(
            Exit.CANNOT_BIND, error.reason, f"cannot bind ({error.reason}): {where}{error.detail}", column=error.column
        ) from error
    except Refused as error:
        status = Exit.NOT_PERMITTED if error.reason is RefusalReason.DENIED_BY_HOST else Exit.CANNOT_BIND
        raise Stop(status, error.reason, error.detail) from error
    except ArmFailed as error:
        permitted = error.reason not in {ArmReason.NOT_PERMITTED, ArmReason.UNSUPPORTED}
        status = Exit.CANNOT_BIND if permitted else Exit.NOT_PERMITTED
        hint = "" if permitted else "; `probegate-agent doctor` shows what is missing"
        raise Stop(status, error.reason, f"cannot arm ({error.reason}): {error.detail}{hint}") from error
    except BadSettings as error:
        raise Stop(Exit.NOT_PERMITTED, "bad_settings", str(error)) from error
    except PermissionError as error:
        raise Stop(
            Exit.NOT_PERMITTED,
            "not_permitted",
            f"{error.filename or error} may not be read: run as root, or as the owner of the process",
        ) from error


def bad_template(error: TemplateError) -> Stop:
    position = error.position
    place = {"line": position.line, "column": position.column} if position else {}
    return Stop(Exit.BAD_TEMPLATE, "bad_template", f"bad template: {error}", problem=error.problem, **place)
