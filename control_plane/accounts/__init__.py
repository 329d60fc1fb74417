"""What programs sign in with: service accounts, the rules by which a pipeline becomes one, and people's own tokens.

Before it `policy` said that somebody may administer them; after it `identity` believes what they show.

    service_accounts  owner, end, secret: created, rotated, disabled
    trust_rules       issuer, audience and claims of a pipeline's own token -> a service account
    personal_tokens   a token that may do less than its person, for a while
    routes            all three over HTTP
"""
