"""Signed bytes -> AdmittedSpec, or Refused(reason): the agent trusts nobody.

Before: `agents.uplink` received an envelope; who sent it counts for nothing. After: `agents.processes` chooses the
target's processes and `agents.stages` arms the probe. Imports the contract (`wire`, `language`) and nothing else.
"""
