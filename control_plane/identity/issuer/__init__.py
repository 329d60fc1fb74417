"""The embedded OpenID provider: people with passwords and service accounts with secrets -> signed access tokens.

For one machine and for tests; the production profile refuses to start with it. The API trusts it like any other
issuer: `identity.token_verifier` checks its tokens, only the keys are taken in-process. The OAuth rules are
Authlib's server core; these modules are the glue to Starlette and to our database.

    routes    discovery, keys, authorize and its login page, token, device_authorization, device and its page
    server    Authlib's authorization server on Starlette; runs in a worker thread, since that core is synchronous
    grants    code with PKCE S256, device code, client credentials, refresh with rotation and reuse detection
    tokens    access tokens (RFC 9068, ES256, 15 minutes) and ID tokens
    clients   the command line, the console, service accounts
    users     argon2 passwords, throttled logins
    store     codes, device codes, refresh tokens in SQL, each usable once
"""
