"""Step 1: who is asking? Bearer token or console session -> `Principal`, or `Unauthenticated`.

Nothing comes before it but the HTTP connection; after it `policy` decides what the principal may do.

    service          authenticate: the only place that mints a Principal, and writes identity.accept and identity.refuse
    token_verifier   one JWT against one allow-listed issuer, in numbered steps (joserfc)
    jwks             an issuer's keys: cached, fetched once at a time, unknown key ids remembered
    sessions         the console's server-side sessions and their CSRF tokens
    issuer/          the embedded OpenID provider of the development profile (Authlib's server core)
"""
