"""The agent: one a host, the only part that touches a traced program.

The path of a probe through it, one folder a step:

    admission   signed bytes    -> AdmittedSpec    or Refused(reason)
    processes   target          -> the processes meant, by pid and start time
    binaries    function        -> ResolvedProbe   or Unresolved(reason)
    compiler    captures        -> BpfProgram      (instructions, record layout, sites)
    runtime     program         -> links, ring, counters: armed
    decoding    ring bytes      -> RecordBatch     (Arrow columns)
    masking     columns         -> MaskedBatch     (and a receipt)
    uplink      MaskedBatch     -> acknowledged by the control plane

`memory` keeps it small. `stages` chains them for one probe, `supervisor` keeps many alive and ends them on time.
The agent imports nothing of the control plane; both share `wire` and `language`.
"""
