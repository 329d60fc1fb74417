"""A hostile token is refused at the first step that can see it; a good one says who it is."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from joserfc.jwk import KeySet

from control_plane.identity.token_verifier import BadToken, IssuerPolicy, TokenVerifier
from tests.builders import issuer
from tests.builders.issuer import claims, forge, hmac_signed, sign

KEY, OTHER, RSA = issuer.key(), issuer.key(), issuer.key("RSA")


@dataclass
class Keys:
    key_set: KeySet

    async def keys(self, key_id):
        return self.key_set


def policy(*keys, **changes):
    settings = {
        "issuer": issuer.ISSUER,
        "audience": "probegate",
        "algorithms": ("ES256", "RS256"),
        "types": ("at+jwt",),
        "keys": Keys(KeySet.import_key_set(issuer.public_set(*(keys or (KEY, RSA))))),
    }
    return IssuerPolicy(**(settings | changes))


@pytest.fixture
def verifier(clock):
    return TokenVerifier([policy()], clock)


@pytest.fixture
def now(clock):
    return clock.now().timestamp()


async def reason(verifier, token):
    with pytest.raises(BadToken) as refused:
        await verifier.verify(token)
    return refused.value.reason


async def test_a_good_token_says_who_it_is(verifier, now):
    token = await verifier.verify(sign(KEY, claims(now, scope="openid profile", auth_time=int(now), client_id="cli")))

    assert (token.issuer, token.subject, token.display_name, token.client) == (issuer.ISSUER, "alice", "Alice", "cli")
    assert token.scopes == {"openid", "profile"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"iss": "https://evil.example"}, "unknown_issuer"),
        ({"iss": None}, "unknown_issuer"),
        ({"iss": issuer.ISSUER + "/"}, "unknown_issuer"),
        ({"aud": "somebody-else"}, "wrong_audience"),
        ({"aud": ["somebody-else"]}, "wrong_audience"),
        ({"aud": None}, "wrong_audience"),
        ({"aud": {"probegate": 1}}, "wrong_audience"),
        ({"exp": None}, "expired"),
        ({"exp": "tomorrow"}, "bad_claim"),
        ({"exp": True}, "bad_claim"),
        ({"sub": None}, "bad_subject"),
        ({"sub": ""}, "bad_subject"),
        ({"sub": "a|b"}, "bad_subject"),
        ({"sub": "a\nb"}, "bad_subject"),
        ({"sub": "x" * 256}, "bad_subject"),
        ({"sub": 7}, "bad_subject"),
    ],
)
async def test_claims_that_do_not_fit_are_refused(verifier, now, changes, why):
    assert await reason(verifier, sign(KEY, claims(now, **changes))) == why


@pytest.mark.parametrize(
    ("claim", "seconds", "why"),
    [("exp", -30, "expired"), ("nbf", 31, "not_yet_valid"), ("iat", 31, "not_yet_valid"), ("iat", -86_401, "too_old")],
)
async def test_times_are_kept_with_thirty_seconds_of_leeway(verifier, now, claim, seconds, why):
    assert await reason(verifier, sign(KEY, claims(now, **{claim: int(now) + seconds}))) == why
    await verifier.verify(sign(KEY, claims(now, **{claim: int(now) + seconds - (1 if seconds == 31 else -1)})))


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ({"typ": "JWT"}, "wrong_type"),
        ({"typ": None}, "wrong_type"),
        ({"kid": ""}, "bad_key_id"),
    ],
)
async def test_headers_that_do_not_fit_are_refused(verifier, now, header, why):
    token = forge({"alg": "ES256", "kid": KEY.kid, "typ": "at+jwt"} | header, claims(now))

    assert await reason(verifier, token) == why


async def test_a_type_may_be_spelt_as_a_media_type(verifier, now):
    await verifier.verify(sign(KEY, claims(now), typ="application/at+jwt"))


async def test_an_unsigned_token_is_refused(verifier, now):
    for algorithm in ("none", "None", "nOnE", ""):
        assert await reason(verifier, forge({"alg": algorithm, "typ": "at+jwt"}, claims(now))) == "wrong_algorithm"


async def test_a_public_key_is_no_shared_secret(verifier, now):
    """RFC 8725, 2.1: HS256 with the RSA key's public PEM as the secret."""
    header = {"alg": "HS256", "kid": RSA.kid, "typ": "at+jwt"}

    assert await reason(verifier, hmac_signed(header, claims(now), RSA.as_pem(private=False))) == "wrong_algorithm"


async def test_a_token_signed_by_another_key_is_refused(verifier, now):
    assert await reason(verifier, sign(OTHER, claims(now), kid=KEY.kid)) == "bad_signature"
    assert await reason(verifier, sign(OTHER, claims(now))) == "bad_signature"


async def test_a_key_in_the_tokens_own_header_is_not_believed(verifier, now):
    token = sign(OTHER, claims(now), jwk=OTHER.as_dict(private=False))

    assert await reason(verifier, token) == "bad_signature"


async def test_an_algorithm_of_another_key_is_refused(verifier, now):
    assert await reason(verifier, sign(KEY, claims(now), kid=RSA.kid)) == "bad_signature"


async def test_without_key_id_one_key_must_be_the_only_one(verifier, clock, now):
    assert await reason(verifier, sign(KEY, claims(now), kid=None)) == "no_key_id"
    await TokenVerifier([policy(KEY)], clock).verify(sign(KEY, claims(now), kid=None))


async def test_an_unknown_critical_header_is_refused(verifier, now):
    token = forge({"alg": "ES256", "kid": KEY.kid, "typ": "at+jwt", "crit": ["b64"], "b64": False}, claims(now))

    assert await reason(verifier, token) == "critical_header"


async def test_a_changed_payload_breaks_the_signature(verifier, now):
    head, _, signature = sign(KEY, claims(now)).split(".")
    payload = forge({}, claims(now, sub="admin")).split(".")[1]

    assert await reason(verifier, f"{head}.{payload}.{signature}") == "bad_signature"


async def test_the_issuer_that_is_claimed_is_the_one_whose_keys_count(clock, now):
    second = "https://second.example"
    verifier = TokenVerifier(
        [policy(KEY), policy(issuer=second, keys=Keys(KeySet.import_key_set(issuer.public_set(OTHER))))], clock
    )

    assert await reason(verifier, sign(KEY, claims(now, iss=second), kid=OTHER.kid)) == "bad_signature"


@pytest.mark.parametrize(
    "rubbish", ["", "x", "a.b", "a.b.c.d", "..", "e30.e30.", "é.é.é", "W10.W10.", "x" * 16_385, "[" * 12_000 + ".."]
)
async def test_rubbish_is_refused_without_an_accident(verifier, rubbish):
    assert await reason(verifier, rubbish) in {"not_a_jwt", "unknown_issuer", "too_long"}


@pytest.mark.parametrize("algorithms", [(), ("none",), ("HS256",), ("ES256", "HS256")])
def test_a_policy_without_a_signature_cannot_be_made(algorithms):
    with pytest.raises(ValueError, match="algorithms"):
        policy(algorithms=algorithms)


@pytest.mark.parametrize(
    ("groups", "read"),
    [
        (["devs", "ops"], {"devs", "ops"}),
        (["devs", 7, ""], {"devs"}),
        ("devs", set()),
        (None, set()),
        (["x"] * 501, set()),
    ],
)
async def test_groups_are_a_list_of_names_or_none(verifier, now, groups, read):
    assert (await verifier.verify(sign(KEY, claims(now, groups=groups)))).groups == read
