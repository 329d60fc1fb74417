"""The same script on the same rows: our frames and those of pandas, cell by cell."""

from __future__ import annotations

import math
import random

import pandas as pd
import pytest

from client.cli.displays import Display
from language.pxl_front_end import load

RANDOM = random.Random(4)
CURRENCIES = ("USD", "EUR", "GBP")
ROWS = [
    {
        "time_": number * 1000,
        "units": RANDOM.randint(-50, 1000),
        "nanos": RANDOM.randint(0, 10**9),
        "rate": RANDOM.choice([0.5, 1.25, 3.0]),
        "currency": RANDOM.choice(CURRENCIES),
        "path": RANDOM.choice(["/api/cart", "/api/pay", "/static"]),
        "latency": RANDOM.randint(1_000, 10_000_000),
    }
    for number in range(300)
]
QUANTILES = {f"p{q:02d}": q / 100 for q in (1, 10, 25, 50, 75, 90, 99)}


def quantiles(series):
    return {name: series.quantile(share) for name, share in QUANTILES.items()}


def grouped(frame, by, **results):
    return frame.groupby(by, as_index=False, dropna=False).agg(**results)


def with_(frame, **columns):
    return frame.assign(**columns)


SCRIPTS = [
    ("df = df[df.units > 500]", lambda f: f[f.units > 500]),
    ("df = df[df.units > 100 and df.currency == 'EUR']", lambda f: f[(f.units > 100) & (f.currency == "EUR")]),
    ("df = df[df.units < 0 or df.rate == 0.5]", lambda f: f[(f.units < 0) | (f.rate == 0.5)]),
    ("df = df[not df.currency in ['USD', 'GBP']]", lambda f: f[~f.currency.isin(["USD", "GBP"])]),
    ("df = df[['currency', 'units']]", lambda f: f[["currency", "units"]]),
    ("df = df.drop(['nanos', 'rate'])", lambda f: f.drop(columns=["nanos", "rate"])),
    ("df = df.drop('path').head(7)", lambda f: f.drop(columns="path").head(7)),
    ("df = df.head()", lambda f: f.head()),
    ("df.total = df.units * df.rate + 1", lambda f: with_(f, total=f.units * f.rate + 1)),
    ("df.ratio = df.nanos / 1000000", lambda f: with_(f, ratio=f.nanos / 1000000)),
    ("df.q = df.units // 7\ndf.r = df.units % 7", lambda f: with_(f, q=f.units // 7, r=f.units % 7)),
    ("df.neg = -df.units - 2", lambda f: with_(f, neg=-f.units - 2)),
    ("df['big'] = df.units >= 500", lambda f: with_(f, big=f.units >= 500)),
    ("df.bin = px.bin(df.latency, 1000000)", lambda f: with_(f, bin=f.latency // 1000000 * 1000000)),
    (
        "df.path = px.strip_prefix('/api', df.path)",
        lambda f: with_(f, path=f.path.str.removeprefix("/api")),
    ),
    ("df.latency = px.DurationNanos(df.latency)", lambda f: f),
    (
        "df = df.groupby('currency').agg(n=('units', px.count), sum=('units', px.sum), mean=('latency', px.mean))",
        lambda f: grouped(f, "currency", n=("units", "count"), sum=("units", "sum"), mean=("latency", "mean")),
    ),
    (
        "df = df.groupby(['currency', 'path']).agg(least=('units', px.min), most=('units', px.max))",
        lambda f: grouped(f, ["currency", "path"], least=("units", "min"), most=("units", "max")),
    ),
    (
        "df = df.groupby('path').agg(q=('latency', px.quantiles))",
        lambda f: pd.DataFrame(
            [{"path": path, "q": quantiles(group.latency)} for path, group in f.groupby("path")],
        ),
    ),
    (
        "df = df.groupby('path').agg(q=('latency', px.quantiles))\ndf.p50 = px.pluck_float64(df.q, 'p50')\ndf = df.drop('q')",
        lambda f: grouped(f, "path", p50=("latency", "median")),
    ),
    (
        "df.slot = px.bin(df.time_, 50000)\ndf = df.groupby('slot').agg(n=('time_', px.count))\ndf = df[df.n > 10].head(3)",
        lambda f: (
            grouped(with_(f, slot=f.time_ // 50000 * 50000), "slot", n=("time_", "count")).query("n > 10").head(3)
        ),
    ),
    (
        "df = df.agg(n=('units', px.count), total=('rate', px.sum))",
        lambda f: pd.DataFrame([{"n": f.units.count(), "total": f.rate.sum()}]),
    ),
    (
        "least = 250\ndf = df[df.units >= least][['currency', 'rate']]\ndf.twice = 2 * df.rate",
        lambda f: with_(f[f.units >= 250][["currency", "rate"]], twice=lambda g: 2 * g.rate),
    ),
    ("df = df[0 <= df.units <= 100]", lambda f: f[f.units.between(0, 100)]),
    ("df = df[px.contains(df.path, 'api')]", lambda f: f[f.path.str.contains("api")]),
]


def ours(script: str, rows) -> list[dict]:
    text = f"import px\ndf = px.DataFrame(table='t')\n{script}\npx.display(df)\n"
    shown = Display("", load(text).displays[0].operations)
    found = [row for start in range(0, len(rows), 37) for row in shown.apply(rows[start : start + 37])]
    return [*found, *shown.finish()]


def same(one, other) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, float) or isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-12)
    return one == other


@pytest.mark.parametrize(("script", "in_pandas"), SCRIPTS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_script_gives_the_frame_that_pandas_gives(script, in_pandas) -> None:
    found = ours(script, ROWS)
    expected = in_pandas(pd.DataFrame(ROWS)).to_dict("records")
    assert len(found) == len(expected) > 0
    for row, wanted in zip(found, expected, strict=True):
        assert list(row) == list(wanted)
        assert same(row, wanted), (row, wanted)


def test_absent_values_take_part_in_no_aggregate_as_in_pandas() -> None:
    rows = [{**row, "units": None if number % 3 == 0 else row["units"]} for number, row in enumerate(ROWS)]
    script = "df = df.groupby('currency').agg(n=('units', px.count), mean=('units', px.mean))"
    expected = grouped(pd.DataFrame(rows), "currency", n=("units", "count"), mean=("units", "mean")).to_dict("records")
    assert all(same(row, wanted) for row, wanted in zip(ours(script, rows), expected, strict=True))
