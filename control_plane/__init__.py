"""The control plane: who may ask what of which programs, and proof that it was so.

Folders are the steps of one request, in order; a later one may import an earlier one, never the reverse:

    foundation   clock, database, errors, the audit trail's port: what every step stands on
    identity     bearer token or session            -> Principal
    policy       Principal, Permission, resource    -> Grant, or Denied with the reason
    templates    YAML or PxL                        -> TemplateVersion -> ApprovedTemplate
    masking      every captured field               -> one rule: MaskedPlan, or refusal
    signing      MaskedPlan, audience, not-after    -> SealedSpec
    delivery     SealedSpec                         -> Redis, and over gRPC to the agents
    tracepoints  the request that runs these steps in one audited transaction
    records      masked batches                     -> rows for those who may read them
    audit        every step                         -> a Merkle log per tenant

`http` and `console` are the outside; `bootstrap` builds the adapters and is the only place that does.
"""
