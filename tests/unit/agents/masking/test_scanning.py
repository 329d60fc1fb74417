"""One scanner serves the threads of all probes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from agents.masking.scanning import scanner


def test_two_batches_are_scanned_at_once_and_each_gets_its_own_answer():
    scanner().warm(1 << 20)
    mail = pa.array([f"user{n}@example.com" for n in range(2000)])
    plain = pa.array(["nothing to see here"] * 2000)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(scanner().bits, [mail, plain] * 20))
    assert all(len(bits) == 2000 for bits in found[::2])
    assert all(not bits for bits in found[1::2])
