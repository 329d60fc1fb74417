"""Whose tracepoint is it, and who else may end it: Grant, TracepointRow -> nothing, or Denied that says whom to ask.

Who asked for it may stop it, as the person that they are: over any of their logins and service accounts. Others need
`tracepoint:stop-any`, which the tenant's administrators and its responders hold. Taking over a name in use ends what
runs under it, so that is asked for in the same way. Locks end tracepoints by themselves (`enforcement`), and the owner
of a host what runs on it (`probegate-agent stop`): neither asks here.
"""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.foundation.errors import Denied
from control_plane.foundation.identifiers import SubjectId
from control_plane.policy.model import Grant, Permission
from control_plane.templates.ports import Reviewers
from control_plane.tracepoints.ports import Deciding
from control_plane.tracepoints.tables import TracepointRow


class Stopping:
    def __init__(self, reviewers: Reviewers, deciding: Deciding) -> None:
        self._reviewers = reviewers
        self._deciding = deciding

    async def refuse_others(self, session: AsyncSession, grant: Grant, row: TracepointRow) -> bool:
        """Whether it is somebody else's, whom the holder of this grant may stop all the same. Raises Denied."""
        asker, owner = grant.principal.id, SubjectId(row.requested_by)
        persons = await self._reviewers.persons(session, grant.resource.tenant, {asker, owner})
        if persons[asker] == persons[owner]:
            return False
        decision = await self._deciding.may_stop_any(session, grant, row.name)
        if decision.allowed:
            return True
        others = f" ({', '.join(decision.would_allow)})" if decision.would_allow else ""
        raise Denied(
            f"{row.name} ({row.id}) is not yours, {row.requested_by_name} asked for it: ask them, or somebody with "
            f"{Permission.TRACEPOINT_STOP_ANY}{others}, to stop it; for a tracepoint of your own take another name",
            code="not_yours",
            extra={
                "permission": Permission.TRACEPOINT_STOP_ANY.value,
                "resource": f"tracepoint/{row.id}",
                "requested_by": row.requested_by_name,
                "rule": decision.rule,
                "roles_held": list(decision.roles),
                "roles_that_allow": list(decision.would_allow),
                "smallest_change": decision.change,
            },
        )
