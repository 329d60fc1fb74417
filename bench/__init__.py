"""How Probegate compares: one module a figure, each against a peer in the same run, on the same program.

`python -m bench` runs them all, prints a table and writes bench/out/results.json. `workload` is the traced program,
`ours` and `bpftrace` are the two tracers, `figure` is what comes out. Rounds of the two are interleaved and medians are
taken, since the machine is never quiet; ratios mean something, single times do not.
"""
