"""The typed Python client: sign in (`login`), keep the tokens (`credentials`), ask the API (`api`), check the log (`verify`).

>>> from client.sdk import Api, Credentials            # doctest: +SKIP
>>> api = Api(Credentials.load().current())            # doctest: +SKIP
>>> api.templates("acme")                              # doctest: +SKIP
"""

from client.sdk.api import Api
from client.sdk.credentials import Context, Credentials
from client.sdk.errors import ApiError, ClientError, NotSignedIn, Unreachable

__all__ = ["Api", "ApiError", "ClientError", "Context", "Credentials", "NotSignedIn", "Unreachable"]
