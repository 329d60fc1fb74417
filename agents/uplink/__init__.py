"""The agent's only way out: a mutual TLS connection to the control plane's gateway.

Before: `agents.masking` minted a MaskedBatch, the only thing of a target that can be sent. After: the gateway acknowledged
it. The other way come envelopes, which go to `agents.admission`, retractions and the lease. `enrolment` gets the agent
its certificate, `identity` keeps it, `sync` and `uploads` are the two streams, `spool` holds what is not yet acknowledged
(in `spool_files` while nobody answers),
`service` keeps all of it connected.
"""
