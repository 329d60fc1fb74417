"""Step 2: may they? `Principal`, `Permission`, `Resource` -> `Grant`, or `Denied` with the reason.

Before it `identity` says who asks; after it every step takes the `Grant` as its first argument.
A route names what it asks in one decorator (`asking.requires`) and receives the grant (`asking.Granted`).

    asking            the decorators, and the dependency that turns a request into a grant
    service           require: the audited decision, the only place that mints a Grant
    decide            one function in front of casbin: malformed input is refused before it gets there
    casbin_decider    the meaning of the rules, one immutable snapshot a tenant; the only module that imports casbin
    roles             policies/roles.yaml, read strictly
    membership        tenants and who holds which role in them
"""
