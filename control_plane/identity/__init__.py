"""Step 1: who is asking? Bearer token or console session -> `Principal`, or `Unauthenticated`.

Nothing comes before it but the HTTP connection; after it `policy` decides what the principal may do.

    service          authenticate: the only place that mints a Principal, and writes identity.accept and identity.refuse
    credentials      what an Authorization header holds: an issuer's token, or a personal one
    signed_claims    one JWT against one allow-listed issuer, in numbered steps (joserfc)
    token_verifier   its claims, read as an access token
    personal_tokens  a token that acts for a person and may do less
    discovery        where an issuer's endpoints are; fetching: one bounded request to it
    jwks             an issuer's keys: cached, fetched once at a time, unknown key ids remembered
    sessions         the console's server-side sessions and their CSRF tokens
    relying_party/   people sign in at somebody else's issuer
    issuer/          the embedded OpenID provider (Authlib's server core)
"""
