"""What a caller of the traced program can send: it neither stalls masking nor passes it unseen."""

import pyarrow as pa
import pytest

from agents.masking.budget import Budget
from agents.masking.scanning import Re2Sets, scanner
from agents.masking.service import mask
from agents.masking.texts import detect
from tests.unit.agents.masking.test_service import batch, masked, rule

LIMIT = 4096  # bytes: the longest text that a capture may take
SECRET = "bob@example.com"
HOSTILE = [
    "a." * (LIMIT // 2), "a@" * (LIMIT // 2), "@" * LIMIT, "1" * LIMIT, "1 " * (LIMIT // 2), "1-" * (LIMIT // 2),
    "4111 " * (LIMIT // 5), ":" * LIMIT, "::" * (LIMIT // 2), "a:" * (LIMIT // 2), "ff:" * (LIMIT // 3), "." * LIMIT,
    "1." * (LIMIT // 2), "DE89 " * (LIMIT // 5), "GB82" * (LIMIT // 4), "password=" * (LIMIT // 9), "token:" * (LIMIT // 6),
    "Bearer " * (LIMIT // 7), "eyJ" * (LIMIT // 3), "eyJhbGci." * (LIMIT // 9), "-----BEGIN " * (LIMIT // 11),
    "-----BEGIN PRIVATE KEY-----" * (LIMIT // 27), "%41" * (LIMIT // 3), "%25" * (LIMIT // 3), "\\u0041" * (LIMIT // 6),
    "QUJD" * (LIMIT // 4), "41" * (LIMIT // 2), "\u200b" * (LIMIT // 3), "\uff11" * (LIMIT // 3), "ssn 1" * (LIMIT // 5),
    "phone 1" * (LIMIT // 7), "+49 30 " * (LIMIT // 7), "a://b:c" * (LIMIT // 7), "AKIA" * (LIMIT // 4), "\x00" * LIMIT,
]  # fmt: skip
SECONDS = 0.5  # of CPU for one text at the limit, on a busy machine; the batch's budget is four times that


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:12]))
def test_no_text_takes_long_and_what_it_hides_is_hidden(text):
    budget = Budget(SECONDS * 4)
    planted = f"{text} {SECRET}"
    shown = detect(pa.array([planted]), pa.array([False]).to_numpy(zero_copy_only=False), budget=budget)
    assert SECRET not in shown.array[0].as_py()
    assert not budget.over()


def test_what_there_is_no_time_for_is_hidden_and_counted():
    values = [f"{n} {SECRET}" for n in range(5)]
    result = mask(batch(pa.array(values)), (rule(),), Budget(0))
    assert result.columns.column("c").to_pylist() == ["<UNSCANNED>"] * 5
    assert any(receipt.rule == "unscanned" and receipt.hidden == 5 for receipt in result.receipts)


def test_re2_sets_ask_the_same_detectors_as_vectorscan():
    texts = [
        f"x {SECRET}",
        "4111111111111111",
        "password=hunter2",
        "plain words",
        "AKIAIOSFODNN7EXAMPLE",
        "nhs 943 476 5919",
    ]
    slow = Re2Sets().bits(pa.array(texts))
    scanner().warm(1 << 20)
    fast = scanner().bits(pa.array(texts))
    assert slow == fast


def test_ordinary_log_lines_stay_as_they_are():
    lines = [
        "081109 203615 148 INFO dfs.DataNode$PacketResponder: PacketResponder 1 for block blk_38865049064139660 terminating",
        "2026-11-24T15:06:32.123456789Z INFO trace=4bf92f3577b34da6a3ce929d0e0e4736 span=00f067aa0ba902b7 took 12 ms",
        "commit 9fceb02d0ae598e95dc970b74767f19372d61af8 by ci",
        "pod checkout-7d9f8b6c5-x2x4z in ns prod restarted 3 times",
        "request 550e8400-e29b-41d4-a716-446655440000 done in 1700000000000000000",
        "std::vector<foo::bar>::push_back at main.cc:120",
        "jvm 17.0.2 gc pause 1234567 bytes 987654321 of 123456789",
        "kernel: [12345.678901] CPU0: Core temperature above threshold (total events = 1234567)",
    ]
    for n in range(375):
        for line in lines:
            value = line.replace("12", str(n))
            if n % 25 == 0:
                assert masked(pa.array([value]))[0] == [value]
