"""The outside: routers of all steps -> one FastAPI app that answers in one voice.

    app            the factory: routers, middleware, problems, the start-up check
    problems       every error, ours and the framework's, as RFC 9457 problem details
    middleware     request ids, security headers, the limit on bodies
    asking_check   walks all routes: one that does not declare what it asks stops the start-up
    operations     policies/operations.yaml, who gets which answer: a route without a line stops it, too
    openapi        the document, completed by what policy's declarations say
    health         /healthz, /readyz and the OpenAPI document

Built by `bootstrap` after all services; nothing comes after it but the socket.
"""
