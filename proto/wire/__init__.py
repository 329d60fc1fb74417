"""The contract between the control plane, the agents and the clients: all that the sides share on the wire.

`v1/*.proto` say what crosses; the generated modules beside them are committed (`make wire`
regenerates them, a test compares). `dsse` signs and opens envelopes, `merkle` proves
entries of an audit log: both are formats, the same on every side, and do no I/O.
"""
