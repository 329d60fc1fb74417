"""The coverage page names what a privacy officer looks for: fields in clear, rules that never fired, what was not scanned."""

from client.cli.masking_coverage import print_coverage


def field(column, shown, *rules, unscanned=0, more=0):
    did = [dict(zip(("rule", "action", "hidden", "values"), rule, strict=True)) for rule in rules]
    return {
        "template": "charge",
        "table": "charges",
        "column": column,
        "type": "",
        "rows": 10,
        "in_clear": 7,
        "unscanned": unscanned,
        "shown": shown,
        "rules": did,
        "more_rules": more,
    }


def rule(name, firing):
    return {"rule": name, "action": "detect", "firing": firing, "in_force_since": None}


def test_the_page_says_it_all(capsys):
    fields = [
        field("id", "always", ("platform:default.string", "detect", 0, 10)),
        field("email", "never", ("platform:default.string", "detect", 10, 10), unscanned=3, more=2),
    ]
    print_coverage(fields, [rule("tenant:code", "never"), rule("platform:pin", "unseen"), rule("tenant:used", "fired")])
    text = capsys.readouterr().out
    for part in (
        "platform:default.string detect 10 of 10; and 2 more",
        "always in clear: charges.id (charge)\n",
        "2 of 3 rules never fired",
        "tenant:code",
        "platform:pin",
    ):
        assert part in text
    assert "tenant:used" not in text


def test_nothing_captured_is_said(capsys):
    print_coverage([], [])
    told = capsys.readouterr()
    assert "nothing was captured" in told.err
    assert "always in clear: no field" in told.out
