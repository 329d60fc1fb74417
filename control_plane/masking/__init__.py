"""Step 5: every captured field gets one rule, or the plan is refused. Before: `templates`. After: `signing`.

    service        ApprovedTemplate -> MaskedPlan, by the platform's pack, the tenant's rules and the template's own wishes
    rules          a tenant's own rules: list, put, delete; they can only tighten
    keys           the tenant's HMAC key, made on first use, wrapped by a key of this server (`key_wrapping`)
    routes         rules, settings and preview over HTTP

What the rules mean is `language.masking_rules`; what they do is done on the host, in `agents.masking`.
"""
