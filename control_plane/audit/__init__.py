"""What happened, in order, and proof that nobody changed it since: one Merkle log per tenant.

Before: every other step, through the port `foundation.audit_trail`, inside the transaction of its own change. After:
`probegate audit` and whoever keeps a checkpoint. `entry` makes the bytes, `service` appends and signs, `reading`
searches, exports and proves for those who may; `wire.audit_export` verifies offline.
"""
