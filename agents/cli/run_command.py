"""`probegate-agent run`: enrol once, then stay connected and run what the control plane signs.

Log lines go to stderr and never hold a captured value. SIGTERM and SIGINT detach everything, send what was captured and
end with status 0; SIGHUP reads the host's file again and ends what it does not allow any more; SIGKILL leaves nothing either, since nothing is pinned.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
from wire.identity import JoinToken

from agents.admission.seen_versions import StateUnusable
from agents.bootstrap import build_agent
from agents.cli.problems import Exit, Stop, reported
from agents.cli.try_command import refuse_without_bpf
from agents.core_dumps import forbid_core_dumps
from agents.settings import Settings, read_settings
from agents.supervisor.owner_socket import CannotDo, OwnerSocket
from agents.uplink.channel import NotTrusted, Server
from agents.uplink.enrolment import EnrolmentFailed, enroll
from agents.uplink.identity import AgentIdentity, BadIdentity, IdentityStore

FLUSH_SECONDS: Final = 5.0  # for the last rows, when the agent stops

_LOG: Final = logging.getLogger("probegate-agent")


@click.command("run")
@click.option("--server", required=True, metavar="HOST:PORT", help="the control plane's gateway")
@click.option("--join-token", metavar="T", help="from `probegate agent token`; needed once")
@click.option(
    "--ca", type=click.Path(path_type=Path), help="the gateway's CA certificate; else the token's hash finds it"
)
@click.option("--state", type=click.Path(path_type=Path), metavar="DIR", help="keeps the agent's identity, mode 0700")
@click.option("-v", "--verbose", is_flag=True)
def run_command(server: str, join_token: str | None, ca: Path | None, state: Path | None, verbose: bool) -> None:
    """Run as this host's agent until stopped."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        where = Server.parse(server)
        token = JoinToken.parse(join_token) if join_token else None
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    with reported():
        forbid_core_dumps()
        settings = read_settings()
        if state is not None:
            settings = replace(settings, state=state)
        asyncio.run(_run(where, token, ca.read_bytes() if ca is not None else None, settings))


async def _run(server: Server, token: JoinToken | None, ca: bytes | None, settings: Settings) -> None:
    try:
        agent = await build_agent(settings, lambda store: _identity(store, server, token, ca), server)
    except (EnrolmentFailed, NotTrusted, BadIdentity, StateUnusable) as error:
        raise Stop(Exit.NOT_PERMITTED, "no_identity", str(error)) from error
    refuse_without_bpf(agent.kernel)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, agent.supervisor.stop)
    async with agent.owner.opened(settings.shared), asyncio.TaskGroup() as tasks:
        loop.add_signal_handler(signal.SIGHUP, lambda: tasks.create_task(_reload(agent.owner)))
        connection = tasks.create_task(agent.uplink.run(agent.supervisor))
        await agent.supervisor.run()
        loop.remove_signal_handler(signal.SIGHUP)
        _LOG.info("everything is detached; sending what is left")
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await agent.uplink.flushed()
        except TimeoutError:
            _LOG.warning(
                "not everything was acknowledged within %.0f s; it is sent after the next start", FLUSH_SECONDS
            )
        connection.cancel()
    agent.uplink.keep()


async def _reload(owner: OwnerSocket) -> None:
    try:
        await owner.reload()
    except CannotDo as error:
        _LOG.error("%s", error)


async def _identity(store: IdentityStore, server: Server, token: JoinToken | None, ca: bytes | None) -> AgentIdentity:
    """The one that is kept; a join token makes a new one only where there is none, or one that is over."""
    kept = store.load()
    if kept is not None and kept.valid_until <= datetime.now(UTC):
        _LOG.warning("the certificate of %s ended at %s", kept.agent_id, kept.valid_until)
        if token is None:
            raise EnrolmentFailed("this agent was away for longer than its certificate lives: give a new --join-token")
    elif kept is not None:
        if token is not None:
            _LOG.info("already enrolled as %s: the join token is not used", kept.agent_id)
        return kept
    if token is None:
        raise EnrolmentFailed("this agent has not enrolled yet: give --join-token, from `probegate agent token`")
    identity = await enroll(server, token, ca)
    store.save(identity)
    _LOG.info("enrolled as %s of tenant %s", identity.agent_id, identity.tenant)
    return identity
