"""Step 16: masked batches in, rows for those who may read them out. Before: `delivery` takes batches from agents.

    intake          BatchSink: a batch is checked (whose, which table, safe Arrow) and stored once
    arrow_batches   untrusted IPC bytes -> a record batch that is safe to walk; `arrow_framing` looks before it reads
    service         Grant -> tables, rows, accounting, each read audited
    live            the same rows as they arrive; `arrivals` wakes the streams of this process
    exports         a whole table as CSV, JSON lines, Parquet or Arrow
    coverage        what masking did to every captured field in a period, and which rules never decided; no values
    routes          all of it over HTTP

What a tracepoint is, `tracepoints` knows; this step asks it through `ports`.
"""
