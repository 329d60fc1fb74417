"""Step 5: every captured field gets one rule, or the plan is refused. Before: `templates`. After: `signing`.

    service        ApprovedTemplate -> MaskedPlan, by the platform's pack, the tenant's rules and the template's own wishes
    bound          what rules and exceptions decide for a template, without the proof
    rules          a tenant's own rules, which can only tighten; `exceptions` are what two people agreed to loosen
    changing       the only way to change any of it; `change_kinds` says what waits for a second person, `comparing`
                   which fields of which approved templates are hidden less or more by it
    keys           the tenant's key for tokens, epoch after epoch, wrapped by a key of this server (`key_wrapping`)
    routes         what holds, over HTTP; `changing_routes` changes it

What the rules mean is `language.masking_rules`; what they do is done on the host, in `agents.masking`.
"""
