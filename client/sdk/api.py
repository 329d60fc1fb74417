"""Ask the control plane: one method a thing that can be asked, JSON objects as they come.

Entered with a Context (`credentials`); a token about to end is refreshed first and written back. Every refusal is an
ApiError with the problem's stable code. A stream yields server-sent events as they arrive.
"""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx

from client.sdk import login
from client.sdk.credentials import Context, Credentials
from client.sdk.errors import ApiError, ClientError, NotSignedIn, SignInFailed, Unreachable

TIMEOUT: Final = httpx.Timeout(30.0, connect=5.0)  # a request's own audit and policy take milliseconds
STREAM_TIMEOUT: Final = httpx.Timeout(60.0, connect=5.0)  # the server sends a comment at least every 15 seconds

Json = dict[str, Any]


@dataclass(frozen=True)
class Event:
    """One server-sent event: its name, its id (resume after it) and its JSON."""

    name: str
    id: str
    data: Json


class Api:
    """One control plane as one person. Raises ApiError, NotSignedIn, Unreachable."""

    def __init__(self, credentials: Credentials, tenant: str = "") -> None:
        self._credentials = credentials
        self._tenant = tenant
        context = credentials.current()
        self._http = httpx.Client(base_url=context.server, timeout=TIMEOUT, follow_redirects=False)

    # --- the person -------------------------------------------------------------------------------------------------

    @property
    def tenant(self) -> str:
        """The tenant in use. Raises ClientError when none was chosen."""
        tenant = self._tenant or self._credentials.current().tenant
        if not tenant:
            raise ClientError("no tenant chosen: add --tenant NAME, or `probegate ctx --tenant NAME` once")
        return tenant

    def me(self) -> Json:
        return self._object("GET", "/v1/me")

    # --- templates --------------------------------------------------------------------------------------------------

    def submit(
        self, source: str, *, message: str = "", validate_only: bool = False, draft: bool = False, key: str = ""
    ) -> Json:
        """`key` is an Idempotency-Key: asked again with it, nothing happens twice."""
        body = {"source": source, "message": message, "validate_only": validate_only, "draft": draft}
        return self._object("POST", self._path("templates"), body, key=key)

    def templates(self, state: str = "") -> list[Json]:
        return self._items(self._path("templates"), {"state": state} if state else {})

    def template(self, name: str) -> Json:
        return self._object("GET", self._path("templates", name))

    def version(self, name: str, version: int) -> Json:
        return self._object("GET", self._path("templates", name, "versions", version))

    def diff(self, name: str, start: int | None = None, end: int | None = None) -> Json:
        between = {key: value for key, value in (("from", start), ("to", end)) if value is not None}
        return self._object("GET", self._path("templates", name, "diff"), query=between)

    def review_page(self, name: str, version: int, service: str = "") -> Json:
        """Fields with type, rule and class; forecasts of the agents; who could run it and read it."""
        query = {"service": service} if service else {}
        return self._object("GET", self._path("templates", name, "versions", version, "review"), query=query)

    def dry_run(self, name: str, version: int, look: Mapping[str, Any]) -> Json:
        """A few masked rows of a version in review; `look` names an environment, and perhaps agent, service and pids."""
        return self._object("POST", self._path("templates", name, "versions", version, "dry-run"), dict(look))

    def approve(self, name: str, version: int, digest: str, comment: str = "") -> Json:
        body = {"digest": digest, "comment": comment}
        return self._object("POST", self._path("templates", name, "versions", version, "approve"), body)

    def reject(self, name: str, version: int, digest: str, reason: str) -> Json:
        body = {"digest": digest, "reason": reason}
        return self._object("POST", self._path("templates", name, "versions", version, "reject"), body)

    def retire(self, name: str, version: int, how: str, reason: str) -> Json:
        """`how` is deprecate or revoke."""
        return self._object("POST", self._path("templates", name, "versions", version, how), {"reason": reason})

    def withdraw(self, name: str, version: int) -> Json:
        return self._object("POST", self._path("templates", name, "versions", version, "withdraw"), {})

    # --- tracepoints ------------------------------------------------------------------------------------------------

    def request_tracepoint(self, request: Mapping[str, Any]) -> Json:
        return self._object("POST", self._path("tracepoints"), dict(request))

    def tracepoints(self) -> list[Json]:
        return self._items(self._path("tracepoints"), {})

    def tracepoint(self, name: str) -> Json:
        return self._object("GET", self._path("tracepoints", name))

    def renew(self, name: str, ttl: str) -> Json:
        return self._object("POST", self._path("tracepoints", name, "renew"), {"ttl": ttl})

    def stop(self, name: str) -> Json:
        return self._object("DELETE", self._path("tracepoints", name))

    def approve_request(self, name: str, digest: str, comment: str = "") -> Json:
        """A yes to one request, by the digest that was shown."""
        body = {"digest": digest, "comment": comment}
        return self._object("POST", self._path("tracepoints", name, "approve"), body)

    def deny_request(self, name: str, digest: str, reason: str) -> Json:
        return self._object("POST", self._path("tracepoints", name, "deny"), {"digest": digest, "reason": reason})

    def break_glass(self, request: Mapping[str, Any], reason: str, ticket: str) -> Json:
        return self._object("POST", self._path("break-glass"), {**request, "reason": reason, "ticket": ticket})

    def break_glass_uses(self) -> list[Json]:
        return self._items(self._path("break-glass"), {})

    def review_use(self, name: str, comment: str, *, ok: bool) -> Json:
        return self._object("POST", self._path("break-glass", name, "review"), {"ok": ok, "comment": comment})

    def notices(self, *, still_open: bool = False) -> list[Json]:
        """What every member is to know, the newest first."""
        return self._items(self._path("notices"), {"open": "true"} if still_open else {})

    def run_policy(self) -> Json:
        return self._object("GET", self._path("run-policy"))

    def put_run_policy(self, policy: Mapping[str, Any], revision: str = "") -> Json:
        """All of it; with the revision that was read, a change in between is a conflict."""
        return self._object("PUT", self._path("run-policy"), dict(policy), if_match=revision)

    # --- programs ---------------------------------------------------------------------------------------------------

    def service_accounts(self) -> list[Json]:
        return self._items(self._path("service-accounts"), {})

    def service_account(self, name: str) -> Json:
        return self._object("GET", self._path("service-accounts", name))

    def create_service_account(self, name: str, owner: str, ttl: str) -> Json:
        return self._object("POST", self._path("service-accounts"), {"name": name, "owner": owner, "ttl": ttl})

    def rotate_service_account(self, name: str, ttl: str) -> Json:
        return self._object("POST", self._path("service-accounts", name, "rotate"), {"ttl": ttl})

    def disable_service_account(self, name: str) -> Json:
        return self._object("POST", self._path("service-accounts", name, "disable"))

    def trust_rules(self) -> list[Json]:
        return self._items(self._path("trust-rules"), {})

    def create_trust_rule(self, rule: Mapping[str, Any]) -> Json:
        return self._object("POST", self._path("trust-rules"), dict(rule))

    def remove_trust_rule(self, name: str) -> Json:
        return self._object("DELETE", self._path("trust-rules", name))

    def tokens(self, *, everybodys: bool = False) -> list[Json]:
        return self._items(self._path("member-tokens" if everybodys else "tokens"), {})

    def create_token(self, name: str, permissions: Sequence[str], ttl: str) -> Json:
        return self._object("POST", self._path("tokens"), {"name": name, "permissions": list(permissions), "ttl": ttl})

    def revoke_token(self, token: str, *, anybodys: bool = False) -> Json:
        return self._object("DELETE", self._path("member-tokens" if anybodys else "tokens", token))

    # --- locks ------------------------------------------------------------------------------------------------------

    def locks(self) -> list[Json]:
        return self._items(self._path("locks"), {})

    def lock(self, kind: str, value: str, reason: str, ttl: str = "") -> Json:
        body = {"kind": kind, "value": value, "reason": reason} | ({"ttl": ttl} if ttl else {})
        return self._object("POST", self._path("locks"), body)

    def unlock(self, lock_id: str) -> Json:
        return self._object("DELETE", self._path("locks", lock_id))

    # --- results ----------------------------------------------------------------------------------------------------

    def tables(self) -> list[Json]:
        return self._items(self._path("tables"), {})

    def rows(self, table: str, limit: int, tracepoint: str = "") -> Json:
        query: dict[str, Any] = {"limit": limit} | ({"tracepoint": tracepoint} if tracepoint else {})
        return self._object("GET", self._path("tables", table, "rows"), query=query)

    def export(self, table: str, form: str) -> Iterator[bytes]:
        """The whole table as csv, jsonl, parquet or arrow, in pieces."""
        with self._http.stream(
            "GET", self._path("tables", table, "export"), params={"format": form}, headers=self._headers()
        ) as response:
            self._check(response)
            yield from response.iter_bytes()

    def stream(self, table: str, tracepoint: str = "", after: str = "") -> Iterator[Event]:
        """Rows as they arrive, until the tracepoint ends."""
        headers = self._headers() | ({"last-event-id": after} if after else {})
        query = {"tracepoint": tracepoint} if tracepoint else {}
        try:
            with self._http.stream(
                "GET", self._path("tables", table, "stream"), params=query, headers=headers, timeout=STREAM_TIMEOUT
            ) as response:
                self._check(response)
                yield from _events(response.iter_lines())
        except httpx.HTTPError as problem:
            raise Unreachable(f"the stream of {table} broke off: {problem}") from problem

    # --- hosts, policy, masking, audit ------------------------------------------------------------------------------

    def agents(self) -> list[Json]:
        return self._items(self._path("agents"), {})

    def join_token(self, uses: int, ttl: str) -> Json:
        return self._object("POST", self._path("agents", "join-tokens"), {"uses": uses, "ttl": ttl})

    def functions(self, service: str, pattern: str, limit: int) -> Json:
        query = {"service": service, "pattern": pattern, "limit": limit}
        return self._object("GET", self._path("functions"), query=query)

    def can_i(self, permission: str, resource: str) -> Json:
        return self._object(
            "GET", self._path("policy", "can-i"), query={"permission": permission, "resource": resource}
        )

    def policy(self) -> Json:
        return self._object("GET", self._path("policy"))

    def policy_versions(self) -> list[Json]:
        return self._items(self._path("policy", "versions"), {})

    def policy_plan(self, source: str) -> Json:
        return self._object("POST", self._path("policy", "plan"), {"source": source})

    def policy_apply(self, source: str, message: str = "") -> Json:
        return self._object("PUT", self._path("policy"), {"source": source, "message": message})

    def proposals(self, state: str = "") -> list[Json]:
        """Changes that wait, or waited, for a second person."""
        return self._items(self._path("proposals"), {"state": state} if state else {})

    def proposal(self, proposal_id: str) -> Json:
        return self._object("GET", self._path("proposals", proposal_id))

    def proposal_approve(self, proposal_id: str, digest: str) -> Json:
        return self._object("POST", self._path("proposals", proposal_id, "approve"), {"digest": digest})

    def proposal_reject(self, proposal_id: str, reason: str) -> Json:
        return self._object("POST", self._path("proposals", proposal_id, "reject"), {"reason": reason})

    def proposal_withdraw(self, proposal_id: str) -> Json:
        return self._object("POST", self._path("proposals", proposal_id, "withdraw"))

    def policy_rollback(self, version: int) -> Json:
        return self._object("POST", self._path("policy", "versions", version, "rollback"))

    def policy_explain(self, subject: str, permission: str, resource: str, groups: Sequence[str] = ()) -> Json:
        """`groups` are of the subject's issuer; those that they last came with when none is named."""
        query: dict[str, Any] = {"subject": subject, "permission": permission, "resource": resource}
        query |= {"group": list(groups)} if groups else {}
        return self._object("GET", self._path("policy", "explain"), query=query)

    def who_can(self, permission: str, resource: str) -> list[Json]:
        return self._items(self._path("policy", "who-can"), {"permission": permission, "resource": resource})

    def policy_simulate(self, source: str) -> Json:
        return self._object("POST", self._path("policy", "simulate"), {"source": source})

    def tenants(self) -> list[Json]:
        """All of the platform's, for its administrators."""
        return self._items("/v1/platform/tenants", {"limit": 200})

    def tenant_life(self, name: str) -> Json:
        return self._object("GET", _platform(name))

    def create_tenant(self, name: str, title: str, administrator: str) -> Json:
        body = {"name": name, "title": title, "administrator": administrator}
        return self._object("POST", "/v1/tenants", body)

    def move_tenant(self, name: str, how: str, reason: str, etag: str = "") -> Json:
        """`how` is suspend or resume."""
        return self._object("POST", f"{_platform(name)}/{how}", {"reason": reason}, if_match=etag)

    def delete_tenant(self, name: str, reason: str, etag: str) -> Json:
        return self._object("DELETE", _platform(name), query={"reason": reason}, if_match=etag)

    def quotas(self) -> Json:
        return self._object("GET", self._path("quotas"))

    def quotas_of(self, name: str) -> Json:
        return self._object("GET", f"{_platform(name)}/quotas")

    def set_quotas(self, name: str, limits: Mapping[str, int | None], etag: str) -> Json:
        return self._object("PUT", f"{_platform(name)}/quotas", {"limits": dict(limits)}, if_match=etag)

    def members(self) -> list[Json]:
        return self._items(self._path("members"), {})

    def set_member(self, subject: str, roles: Sequence[str]) -> Json:
        """The roles are all that the subject holds from now on; the answer may be a proposal."""
        return self._object("PUT", self._path("members"), {"subject": subject, "roles": list(roles)})

    def remove_member(self, subject: str) -> Json:
        """Empty when done; else a proposal."""
        return self._object("DELETE", self._path("members"), query={"subject": subject})

    def person_links(self) -> list[Json]:
        return self._items(self._path("person-links"), {})

    def link_person(self, subject: str, person: str) -> Json:
        return self._object("POST", self._path("person-links"), {"subject": subject, "person": person})

    def masking_rules(self) -> list[Json]:
        return self._items(self._path("masking", "rules"), {})

    def platform_masking_rules(self) -> list[Json]:
        return self._items(self._path("masking", "platform"), {})

    def put_masking_rule(self, name: str, rule: Mapping[str, Any]) -> Json:
        """The rule, or the proposal when it hides less than before."""
        return self._object("PUT", self._path("masking", "rules", name), rule)

    def remove_masking_rule(self, name: str) -> Json:
        """Empty when done; else a proposal."""
        return self._object("DELETE", self._path("masking", "rules", name))

    def masking_diff(self, name: str, rule: Mapping[str, Any] | None) -> Json:
        return self._object("POST", self._path("masking", "diff"), {"rule": name, "document": rule})

    def masking_preview(self, source: str) -> list[Json]:
        found: list[Json] = self._object("POST", self._path("masking", "preview"), {"source": source})["items"]
        return found

    def masking_preview_rows(self, source: str, rows: Sequence[Mapping[str, Any]]) -> list[Json]:
        """Each field of each row: what would be shown, the rule that decided, and what was nearly hidden."""
        body = {"source": source, "rows": list(rows)}
        found: list[Json] = self._object("POST", self._path("masking", "preview", "rows"), body)["items"]
        return found

    def masking_exceptions(self) -> list[Json]:
        return self._items(self._path("masking", "exceptions"), {})

    def put_masking_exception(self, name: str, exception: Mapping[str, Any]) -> Json:
        """Always a proposal."""
        return self._object("PUT", self._path("masking", "exceptions", name), exception)

    def remove_masking_exception(self, name: str) -> Json:
        return self._object("DELETE", self._path("masking", "exceptions", name))

    def masking_canaries(self) -> list[Json]:
        """Planted rows that came out hidden, by agent."""
        return self._items(self._path("masking", "canaries"), {})

    def masking_keys(self) -> list[Json]:
        return self._items(self._path("masking", "keys"), {})

    def rotate_masking_key(self, message: str = "") -> Json:
        """Always a proposal."""
        return self._object("POST", self._path("masking", "keys"), {"message": message})

    def masking_coverage(self, since: str) -> list[Json]:
        """Every field captured since then: what each rule did to it, and how many values were shown as they are."""
        return self._items(self._path("masking", "coverage"), {"since": since})

    def masking_coverage_rules(self, since: str) -> list[Json]:
        """Every rule that holds now, and whether it decided about a value since then."""
        return self._items(self._path("masking", "coverage", "rules"), {"since": since})

    def audit_search(self, **filters: str) -> Json:
        return self._object("GET", self._path("audit"), query={key: value for key, value in filters.items() if value})

    def audit_export(self) -> Iterator[bytes]:
        with self._http.stream("GET", self._path("audit", "export"), headers=self._headers()) as response:
            self._check(response)
            yield from response.iter_bytes()

    def audit_checkpoint(self) -> Json:
        return self._object("GET", self._path("audit", "checkpoint"))

    # --- how --------------------------------------------------------------------------------------------------------

    def _path(self, *parts: object) -> str:
        return "/".join(("/v1/tenants", self.tenant, *(urllib.parse.quote(str(part), safe="") for part in parts)))

    def _headers(self) -> dict[str, str]:
        context = self._credentials.current()
        if not context.is_fresh():
            context = self._refreshed(context)
        return {"authorization": f"Bearer {context.access_token}"}

    def _refreshed(self, context: Context) -> Context:
        if not context.refresh_token:
            raise NotSignedIn("the sign-in has ended: run `probegate login` again")
        with self._credentials.locked():
            context = self._credentials.contexts.get(context.name, context)
            if context.is_fresh():
                return context  # another process was faster
            try:
                fresh = login.refreshed(context)
            except SignInFailed as problem:
                raise NotSignedIn(f"the sign-in has ended ({problem}): run `probegate login` again") from problem
            self._credentials.put(fresh, activate=False)
            return fresh

    def _object(
        self,
        method: str,
        path: str,
        body: object = None,
        query: Mapping[str, Any] | None = None,
        key: str = "",
        if_match: str = "",
    ) -> Json:
        headers = self._headers() | ({"idempotency-key": key} if key else {})
        headers |= {"if-match": f'"{if_match}"'} if if_match else {}
        try:
            response = self._http.request(method, path, json=body, params=dict(query or {}), headers=headers)
        except httpx.HTTPError as problem:
            server = self._credentials.current().server
            raise Unreachable(f"no answer from {server}: {problem}. Is the control plane running there?") from problem
        self._check(response)
        found = response.json() if response.content else {}
        return found if isinstance(found, dict) else {"items": found}

    def _items(self, path: str, query: Mapping[str, Any]) -> list[Json]:
        """Every page of a list: `items`, and `next` as an opaque cursor while there is more."""
        items: list[Json] = []
        cursor: str | None = ""
        while cursor is not None:
            page = self._object("GET", path, query=dict(query) | ({"cursor": cursor} if cursor else {}))
            items += page["items"]
            cursor = page.get("next") or None
        return items

    @staticmethod
    def _check(response: httpx.Response) -> None:
        if response.is_success:
            return
        response.read()
        try:
            problem = response.json()
        except ValueError:
            problem = {}
        if not isinstance(problem, dict):
            problem = {}
        detail = str(problem.get("detail") or problem.get("title") or f"the server answered {response.status_code}")
        standard = {"type", "title", "status", "detail", "instance", "code"}
        extra = {key: value for key, value in problem.items() if key not in standard}
        raise ApiError(response.status_code, str(problem.get("code", "error")), detail, extra)


def _events(lines: Iterator[str]) -> Iterator[Event]:
    """Server-sent events as the HTML standard, section 9.2.6, reads them."""
    name, identity, data = "message", "", list[str]()
    for line in lines:
        if not line:
            if data:
                yield Event(name, identity, json.loads("\n".join(data)))
            name, data = "message", []
            continue
        key, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if key == "event":
            name = value
        elif key == "id":
            identity = value
        elif key == "data":
            data.append(value)


def _platform(name: str) -> str:
    return f"/v1/platform/tenants/{urllib.parse.quote(name, safe='')}"
