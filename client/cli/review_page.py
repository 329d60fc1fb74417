"""The reviewer's page of text: the plan, each field, the forecast, who could run it and read it, what changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from client.cli.live import HIDDEN
from client.cli.output import Form, show

FIELDS = ("column", "type", "masking", "class", "expression")


def print_page(found: Mapping[str, Any], page: Mapping[str, Any], changes: Sequence[Mapping[str, Any]]) -> None:
    """`found` is the version, `page` what the control plane and its agents say of it now."""
    print(f"template  {found['name']}, version {found['version']}, {found['state']}")
    print(f"digest    {found['digest']}")
    print(f"author    {found['author']}")
    if found.get("message"):
        print(f"says      {found['message']}")
    print(f"class     {found['risk']}: {_why(found)}")
    print(f"needs     {found['needs']}")
    print("\n" + "\n".join(found["plan"]))
    print("\nfields")
    show([_field(field) for field in page["fields"]], Form.TABLE, FIELDS)
    print("\nforecast")
    if not page["forecasts"]:
        print("no agent of this tenant is connected: nothing can be said about where it binds")
    for forecast in page["forecasts"]:
        print(f"{forecast['agent']}: {_forecast(forecast)}")
    if "dry_run" in page:
        _print_rows(page["dry_run"])
    print(f"\ncould run it   {', '.join(page['who_can_run']) or 'nobody'}")
    print(f"could read it  {', '.join(page['who_can_read']) or 'nobody'}")
    if changes:
        print("\nchanged since the last approved version")
        show(changes, Form.TABLE, ("path", "before", "after"))
    if found["reviews"]:
        print("\nreviews")
        show(found["reviews"], Form.TABLE)


def _print_rows(look: Mapping[str, Any]) -> None:
    print(f"\ndry run on {look['agent']}, masked, kept nowhere")
    if look["problem"]:
        print(f"the host shows none: {look['problem']}")
    elif not look["rows"]:
        print(f"no call came while it looked ({look['hits']} hits)")
    else:
        show(look["rows"], Form.TABLE, [name for name in look["rows"][0] if name not in HIDDEN and name[0] != "_"])


def _why(found: Mapping[str, Any]) -> str:
    worst = [reason for reason in found["risk_reasons"] if reason["risk"] == found["risk"]]
    return "; ".join(dict.fromkeys(" ".join(filter(None, (reason["column"], reason["why"]))) for reason in worst))


def _field(field: Mapping[str, Any]) -> dict[str, str]:
    shown = field["type"] or "?"
    return {
        "column": field["column"],
        "type": f"{shown} ({field['note']})" if field["note"] else shown,
        "masking": f"{field['action']} ({field['rule']})",
        "class": field["risk"],
        "expression": field["expression"],
    }


def _forecast(forecast: Mapping[str, Any]) -> str:
    if forecast["problem"] or not forecast["binds"]:
        return f"does not bind: {forecast['problem'] or 'no reason given'}"
    traps = " and ".join(forecast["trap_classes"])
    return (
        f"binds in {forecast['executable']} (build {forecast['build_id'][:12]}), {forecast['processes']} process(es), "
        f"{forecast['sites']} site(s), {traps}, about {forecast['microseconds_per_call']:g} us a call"
    )
