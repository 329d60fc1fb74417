"""Many probes alive at once, each ended on time: what the gateway wants in, statuses and masked rows out.

Before: `agents.admission` says which spec may run. After: `agents.uplink` carries rows and reports. `lifecycle` is the
table of a probe's states, without I/O; `life` runs one probe from its admission to its end; `service` starts and ends
them as the gateway, the lease and the host say.
"""
