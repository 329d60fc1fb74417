"""Sealed specs on their way to agents, and what agents send back.

Before: `signing` sealed a spec. `redis_store` publishes it under its own expiry; `gateway` gives it to the agents of its
audience over one stream each, and takes their answers, states and masked batches. After: `tracepoints` (StatusSink) and
`records` (BatchSink), which this step knows by their ports only. `enrolment` and `pki` say which agents there are.
"""
