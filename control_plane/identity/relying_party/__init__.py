"""Signing people in at somebody else's issuer, as a backend for the console's frontend: the tokens stay here.

    clients      the issuers that people can choose from, and who we are there
    code_flow    authorization code with PKCE S256, state, nonce, `iss` -> a person whose ID token is verified
    id_tokens    ID token and logout token: what each must say besides being signed
    back_channel the issuer's own word that a sign-in is over -> sessions ended

Before it: the routes of `console.sign_in`. After it: `sessions`. The embedded issuer is one more issuer here; only its
code is redeemed in-process.
"""
