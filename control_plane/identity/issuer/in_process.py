"""The embedded issuer as `relying_party` and the verifier see it: one issuer among others, asked without a request to ourselves."""

from __future__ import annotations

import json
from typing import Final

from control_plane.identity.discovery import ProviderMetadata
from control_plane.identity.issuer.clients import CLI, CONSOLE, SCOPES
from control_plane.identity.issuer.embedded import EmbeddedIssuer
from control_plane.identity.issuer.server import FormRequest
from control_plane.identity.issuer.tokens import ALGORITHM
from control_plane.identity.jwks import InProcessKeys
from control_plane.identity.relying_party.clients import CodeRefused, CommandLineClient, SignInIssuer
from control_plane.identity.relying_party.id_tokens import ID_TOKEN_TYPES
from control_plane.identity.signed_claims import IssuerPolicy

NAME: Final = "probegate"  # no external issuer may be called so
LABEL: Final = "Probegate"


class InProcess:
    """Its metadata and its token endpoint."""

    def __init__(self, issuer: EmbeddedIssuer) -> None:
        self._issuer = issuer

    async def metadata(self) -> ProviderMetadata:
        url = self._issuer.url
        return ProviderMetadata(url, f"{url}/oauth/jwks", f"{url}/oauth/authorize", f"{url}/oauth/token", "", True)

    async def redeem(self, form: dict[str, str]) -> dict[str, object]:
        asked = FormRequest("POST", f"{self._issuer.url}/oauth/token", {}, list(form.items()))
        answer = await self._issuer.server.run("create_token_response", asked)
        if answer.status_code != 200:
            raise CodeRefused(f"the embedded issuer answered {answer.status_code}")
        document: dict[str, object] = json.loads(bytes(answer.body))
        return document


def embedded_sign_in(issuer: EmbeddedIssuer) -> SignInIssuer:
    reached = InProcess(issuer)
    return SignInIssuer(
        name=NAME,
        label=LABEL,
        issuer=issuer.url,
        client_id=CONSOLE,
        scopes=("openid", "profile"),
        policy=IssuerPolicy(
            issuer.url, CONSOLE, (ALGORITHM,), ID_TOKEN_TYPES, InProcessKeys(issuer.tokens.public_jwks)
        ),
        discovery=reached,
        redemption=reached,
        callback=f"{issuer.url}/console/callback",
        command_line=CommandLineClient(CLI, SCOPES),
    )
