"""The four ways to a token, as subclasses of Authlib's grants that use our store.

Authlib's rules with its gaps closed: PKCE with S256 is demanded of every client when the code is asked for, and not
only of public ones when it is redeemed; a code, a device code, a refresh token is taken before it is looked at;
the answer to an authorization request names the issuer (RFC 9207).
"""

from __future__ import annotations

from typing import Any, Final

import anyio.from_thread
from authlib.common.urls import add_params_to_uri
from authlib.oauth2.rfc6749 import InvalidRequestError
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, ClientCredentialsGrant, RefreshTokenGrant
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc8628 import DeviceAuthorizationEndpoint, DeviceCodeGrant

from control_plane.identity.issuer.server import FormRequest, IssuerServer
from control_plane.identity.issuer.store import (
    DEVICE_INTERVAL,
    DEVICE_LIFE,
    Answer,
    Code,
    Device,
    Refresh,
    new_user_code,
)
from control_plane.identity.issuer.users import User, Users

_ANY_CLIENT: Final = ["none", "client_secret_basic", "client_secret_post"]
_MAX_NONCE: Final = 200
_MAX_REDIRECT: Final = 500


class Pkce(CodeChallenge):  # type: ignore[misc]  # Authlib has no types
    SUPPORTED_CODE_CHALLENGE_METHOD = ("S256",)

    def validate_code_challenge(self, grant: Any, redirect_uri: str) -> None:
        sent = grant.request.payload.data
        if not sent.get("code_challenge") or sent.get("code_challenge_method") != "S256":
            raise InvalidRequestError("A code_challenge with code_challenge_method=S256 is required (PKCE, RFC 7636).")
        if len(sent.get("nonce", "")) > _MAX_NONCE or len(sent.get("redirect_uri", "")) > _MAX_REDIRECT:
            raise InvalidRequestError("The nonce or the redirect_uri is too long.")
        super().validate_code_challenge(grant, redirect_uri)


def register_grants(server: IssuerServer, users: Users) -> None:
    """Give the server its flows. The classes are made here because Authlib makes their instances itself."""

    class CodeGrant(AuthorizationCodeGrant):  # type: ignore[misc]
        TOKEN_ENDPOINT_AUTH_METHODS = _ANY_CLIENT

        def create_authorization_response(self, redirect_uri: str, grant_user: User | None) -> Any:
            status, body, headers = super().create_authorization_response(redirect_uri, grant_user)
            location = add_params_to_uri(dict(headers)["Location"], [("iss", server.tokens.issuer)])
            return status, body, [("Location", location)]

        def save_authorization_code(self, code: str, request: FormRequest) -> None:
            row = Code(
                client_id=request.client.client_id,
                user=request.user.name,
                redirect_uri=request.payload.redirect_uri,
                scope=request.scope,
                nonce=request.payload.data.get("nonce", ""),
                code_challenge=request.payload.data["code_challenge"],
                authenticated_at=request.user.authenticated_at,
            )
            anyio.from_thread.run(server.store.put_code, code, row)

        def query_authorization_code(self, code: str, client: Any) -> Code | None:
            return anyio.from_thread.run(server.store.take_code, code, client.client_id)

        def delete_authorization_code(self, authorization_code: Code) -> None:
            """Taken already, when it was looked up."""

        def authenticate_user(self, authorization_code: Code) -> User | None:
            return anyio.from_thread.run(users.find, authorization_code.user, authorization_code.authenticated_at)

        def create_token_response(self) -> Any:
            status, token, headers = super().create_token_response()
            if "openid" in token["scope"].split():
                code: Code = self.request.authorization_code
                token["id_token"] = server.tokens.id_token(code.client_id, self.request.user, code.nonce)
            return status, token, headers

    class DeviceGrant(DeviceCodeGrant):  # type: ignore[misc]
        TOKEN_ENDPOINT_AUTH_METHODS = _ANY_CLIENT

        def query_device_credential(self, device_code: str) -> Device | None:
            device = anyio.from_thread.run(server.store.device, device_code)
            self.request.credential = device
            return device

        def query_user_grant(self, user_code: str) -> tuple[User | None, bool] | None:  # noqa: ARG002 - Authlib's signature
            device: Device = self.request.credential
            if device.answer is Answer.WAITING or device.authenticated_at is None:
                return None
            if device.answer is not Answer.APPROVED or not anyio.from_thread.run(
                server.store.take_device, device.device_hash
            ):
                return None, False
            user = anyio.from_thread.run(users.find, device.user, device.authenticated_at)
            return user, user is not None

        def should_slow_down(self, credential: Device) -> bool:
            return anyio.from_thread.run(server.store.polled_too_soon, credential.device_hash)

    class Rotation(RefreshTokenGrant):  # type: ignore[misc]
        TOKEN_ENDPOINT_AUTH_METHODS = _ANY_CLIENT
        INCLUDE_NEW_REFRESH_TOKEN = True

        def authenticate_refresh_token(self, refresh_token: str) -> Refresh | None:
            return anyio.from_thread.run(server.store.take_refresh, refresh_token, self.request.client.client_id)

        def authenticate_user(self, refresh_token: Refresh) -> User | None:
            return anyio.from_thread.run(users.find, refresh_token.user, refresh_token.authenticated_at)

        def revoke_old_credential(self, refresh_token: Refresh) -> None:
            """Used up already, when it was looked up."""

    class ServiceAccounts(ClientCredentialsGrant):  # type: ignore[misc]
        TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic", "client_secret_post")

    class DeviceEndpoint(DeviceAuthorizationEndpoint):  # type: ignore[misc]
        CLIENT_AUTH_METHODS = _ANY_CLIENT
        EXPIRES_IN = int(DEVICE_LIFE.total_seconds())
        INTERVAL = DEVICE_INTERVAL

        def generate_user_code(self) -> str:
            return new_user_code()

        def get_verification_uri(self) -> str:
            return f"{server.tokens.issuer}/oauth/device"

        def save_device_credential(self, client_id: str, scope: str | None, data: dict[str, Any]) -> None:
            allowed = " ".join((scope or "").split())
            kept = anyio.from_thread.run(
                server.store.put_device, data["device_code"], data["user_code"], client_id, allowed
            )
            if not kept:
                raise InvalidRequestError("Too many devices wait for their person; try again in some minutes.")

    server.register_grant(CodeGrant, [Pkce(required=True)])
    server.register_grant(DeviceGrant)
    server.register_grant(Rotation)
    server.register_grant(ServiceAccounts)
    server.register_endpoint(DeviceEndpoint)
