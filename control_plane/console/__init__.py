"""The same questions as the API's, asked by a person in a browser: pages made here, no build step, nothing from elsewhere.

A page is a route like any other: it declares what it asks, policy decides, and the services of the steps answer.
Before it: all of them. After it: the browser, which holds a session cookie and never a token.

    sign_in    authorization code with PKCE at the embedded issuer -> session cookie
    pages      templates with their review, tracepoints, live tables, the log
    rendering  jinja2 templates -> responses; a problem becomes a page, being signed out becomes the sign-in
"""
