"""The embedded OpenID provider: people with passwords and service accounts with secrets -> signed access tokens.

For one machine and for tests: in the production profile it gives tokens to service accounts only. The API trusts it like any other
issuer: `identity.token_verifier` checks its tokens, only the keys are taken in-process. The OAuth rules are
Authlib's server core; these modules are the glue to Starlette and to our database.

    routes    discovery, keys, token; for people authorize and its login page, device_authorization, device and its page
    exchange  a pipeline's own token -> a service account's, by a tenant's trust rule
    in_process  the issuer as the console's sign-in sees it
    server    Authlib's authorization server on Starlette; runs in a worker thread, since that core is synchronous
    grants    code with PKCE S256, device code, client credentials, refresh with rotation and reuse detection
    tokens    access tokens (RFC 9068, ES256, 15 minutes) and ID tokens
    clients   the command line, the console, service accounts
    users     argon2 passwords, throttled logins
    store     codes, device codes, refresh tokens in SQL, each usable once
"""
