"""Step 2: may they? `Principal`, `Permission`, `Resource` -> `Grant`, or `Denied` with the reason.

Before it `identity` says who asks; after it every step takes the `Grant` as its first argument.
A route names what it asks in one decorator (`asking.requires`) and receives the grant (`asking.Granted`).

    asking            the decorators, and the dependency that turns a request into a grant
    service           require: the audited decision, the only place that mints a Grant
    terms             the second half of a decision, when the step knows the facts that a rule speaks of
    decide            one function in front of the rules: malformed input is refused, every no explains itself
    index             the rules of a tenant as an immutable snapshot, compiled for asking
    rules, conditions what one rule says, and when it holds
    casbin_decider    the meaning of the rules; what the index is held to; the only module that imports casbin
    roles             policies/roles.yaml, read strictly
    membership        tenants and who holds which role in them
"""
