"""The main job, before your eyes: from sign-in to masked rows and the proof in the log, on one machine.

make demo               leaves the console running until Ctrl-C
make demo ARGS=--once   ends by itself, with status 0 when everything held
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from deploy.local_stack import ROOT, LocalStack, Person, StackFailed

SCRIPT: Final = ROOT / "templates" / "demo" / "checkout-money-sum.pxl"
ROWS: Final = 10
WAITING_FOR_APPROVAL: Final = 5
DENIED: Final = 3

ADMIN: Final = Person("admin", "admin-demo-password", ())
ADA: Final = Person("ada", "ada-demo-password", ("developer", "reviewer"))
GRACE: Final = Person("grace", "grace-demo-password", ("reviewer", "auditor"))


class Show:
    """Says what happens, runs the commands that a person would type, and prints what they print."""

    def __init__(self, stack: LocalStack) -> None:
        self._stack = stack
        self._begun = time.monotonic()

    def title(self, text: str) -> None:
        print(f"\n\033[1m[{time.monotonic() - self._begun:5.1f} s] {text}\033[0m", flush=True)

    def type(self, person: Person, *arguments: str, expect: int = 0) -> None:
        shown = [a if a != str(SCRIPT) else str(SCRIPT.relative_to(ROOT)) for a in arguments]
        print(f"\033[2m{person.name} $ probegate {shlex.join(shown)}\033[0m", flush=True)
        done = subprocess.run(
            self._stack.client_command(*arguments), env=self._stack.person_environment(person), check=False
        )
        if done.returncode != expect:
            raise StackFailed(f"expected exit status {expect}, got {done.returncode}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--once", action="store_true", help="end by itself instead of leaving the console running")
    parser.add_argument("--keep", action="store_true", help="keep the directory with the logs")
    arguments = parser.parse_args()
    stack = LocalStack(Path(tempfile.mkdtemp(prefix="probegate-demo-")) / "stack")
    try:
        walk_through(stack, once=arguments.once)
    except StackFailed as problem:
        print(f"\ndemo: {problem}", file=sys.stderr)
        for part in ("server", "agent"):
            print(f"--- the end of the {part}'s log\n{stack.log_of(part)[-3000:]}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print()
    finally:
        stack.close(keep=arguments.keep)
        if arguments.keep:
            print(f"kept: {stack.directory}")
    return 0


def walk_through(stack: LocalStack, *, once: bool) -> None:
    show = Show(stack)
    show.title("A control plane on embedded defaults, three people, and a tenant")
    stack.start_server([ADMIN, ADA, GRACE], administrator=ADMIN)
    print(f"console and API: {stack.url}, agents: 127.0.0.1:{stack.grpc_port}")
    for person in (ADMIN, ADA, GRACE):
        stack.sign_in(person)
    show.type(ADA, "whoami")

    show.title("A Go shop, built as its owners would, and an agent on its host")
    stack.start_shop("-every", "200ms")
    stack.join_agent(ADMIN)
    show.type(ADMIN, "agent", "ls")

    show.title("Ada asks for a probe. Nobody has approved it, so nothing runs (exit status 5)")
    show.type(ADA, "run", str(SCRIPT), "-m", "do the totals add up?", expect=WAITING_FOR_APPROVAL)

    show.title("She cannot approve it herself (exit status 3)")
    digest = template(stack)["digest"]
    show.type(ADA, "template", "approve", "checkout-tracer", "--digest", digest, expect=DENIED)

    show.title("Grace reads what it would do, and approves exactly those bytes")
    show.type(GRACE, "template", "review", "checkout-tracer")
    show.type(GRACE, "template", "approve", "checkout-tracer", "--digest", digest)

    show.title("Ada runs it: the masked rows of the live program")
    show.type(ADA, "run", str(SCRIPT), "--rows", str(ROWS))

    show.title("Everything is in the log, and the log can be checked without trusting the server")
    export = stack.directory / "audit.jsonl"
    show.type(GRACE, "audit", "search", "--last", "12")
    show.type(GRACE, "audit", "export", str(export))
    show.type(GRACE, "audit", "verify", str(export))

    if once:
        return
    show.title("The console goes on until Ctrl-C")
    print(f"open {stack.url}")
    for person in (ADA, GRACE, ADMIN):
        print(f"  sign in as {person.name!r} with password {person.password!r}")
    while stack.started["server"].poll() is None:
        time.sleep(1)
    raise StackFailed("the server has ended")


def template(stack: LocalStack) -> dict[str, str]:
    found = stack.json(GRACE, "template", "show", "checkout-tracer")
    if not isinstance(found, dict):
        raise StackFailed("the template is not there")
    return found


if __name__ == "__main__":
    sys.exit(main())
