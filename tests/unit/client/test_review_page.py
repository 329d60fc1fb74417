"""The page holds everything a reviewer decides by."""

from client.cli.review_page import print_page

FOUND = {
    "name": "money-sum",
    "version": 3,
    "state": "in_review",
    "digest": "sha256:abc",
    "author": "ada",
    "message": "for the incident",
    "risk": "masked",
    "risk_reasons": [{"risk": "masked", "column": "units", "why": "detect (platform:default.string)"}],
    "needs": "1 approval, each good for 180d",
    "plan": ["probes     shop/money.Sum"],
    "reviews": [],
}
PAGE = {
    "fields": [
        {
            "column": "units",
            "expression": "l.Units",
            "type": "int64",
            "action": "detect",
            "rule": "platform:default.string",
            "risk": "masked",
            "note": "",
        }
    ],
    "forecasts": [
        {
            "agent": "ag_1",
            "binds": True,
            "processes": 2,
            "sites": 3,
            "trap_classes": ["emulated"],
            "microseconds_per_call": 1.5,
            "executable": "/srv/checkout",
            "build_id": "abcdef0123456789",
            "problem": "",
        },
        {"agent": "ag_2", "binds": False, "problem": "no_function: nearest is money.Add"},
    ],
    "who_can_run": ["carol"],
    "who_can_read": ["carol", "vera"],
}


def test_the_page_says_it_all(capsys):
    print_page(FOUND, PAGE, [{"path": "limits.ttl", "before": "5m", "after": "10m"}])
    text = capsys.readouterr().out
    for part in (
        "masked: units detect",
        "1 approval",
        "shop/money.Sum",
        "int64",
        "detect (platform:default.string)",
        "binds in /srv/checkout (build abcdef012345), 2 process(es), 3 site(s), emulated, about 1.5 us a call",
        "does not bind: no_function",
        "could run it   carol",
        "limits.ttl",
    ):
        assert part in text, text


def test_without_an_agent_the_page_says_so(capsys):
    print_page(FOUND, {**PAGE, "forecasts": []}, [])
    assert "no agent of this tenant is connected" in capsys.readouterr().out
