"""An issuer that is trusted by name and turns hostile, over real HTTP: each trick is refused, bounded, and tells nothing."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import httpx
import pytest

from control_plane.foundation.errors import DependencyUnavailable
from control_plane.identity import fetching
from control_plane.identity.discovery import Discovery
from control_plane.identity.jwks import FRESH_FOR, REFETCH_AFTER, RemoteKeys
from control_plane.identity.signed_claims import LEEWAY, MAX_TOKEN
from control_plane.identity.token_verifier import BadToken, IssuerPolicy, TokenVerifier
from tests.builders import issuer as tokens
from tests.builders.hostile_issuer import dripping, endless, hostile_issuer, redirecting, silent, verbatim

WELL_KNOWN = "/.well-known/openid-configuration"


@pytest.fixture
def hostile():
    with hostile_issuer() as served:
        yield served


@pytest.fixture
async def http():
    async with httpx.AsyncClient() as client:
        yield client


@pytest.fixture
def keys(hostile, http, clock):
    return RemoteKeys(hostile.url, None, http, clock)


@pytest.fixture
def verifier(hostile, keys, clock):
    return TokenVerifier([IssuerPolicy(hostile.url, "probegate", ("ES256",), ("at+jwt",), keys)], clock)


@pytest.fixture
def now(clock):
    return clock.now().timestamp()


@pytest.fixture
def quick(monkeypatch):
    """The bound itself is not what is tested: that there is one is."""
    monkeypatch.setattr(fetching, "TIMEOUT", timedelta(seconds=0.5))


async def reason(verifier, token):
    with pytest.raises(BadToken) as refused:
        await verifier.verify(token)
    assert token[:40] not in str(refused.value), "a refusal repeats nothing of the token"
    return refused.value.reason


async def test_honest_it_is_believed(verifier, hostile, now):
    assert (await verifier.verify(hostile.sign(hostile.claims(now)))).subject == "alice"


@pytest.mark.parametrize(
    ("changes", "header", "why"),
    [
        ({"iss": "https://elsewhere.example"}, {}, "unknown_issuer"),
        ({"aud": "another-api"}, {}, "wrong_audience"),
        ({}, {"typ": "JWT"}, "wrong_type"),
        ({}, {"typ": "logout+jwt"}, "wrong_type"),
        ({}, {"typ": "secevent+jwt"}, "wrong_type"),
    ],
)
async def test_what_is_for_others_is_refused(verifier, hostile, now, changes, header, why):
    assert await reason(verifier, hostile.sign({**hostile.claims(now), **changes}, **header)) == why


async def test_no_signature_is_none(verifier, hostile, now):
    assert (
        await reason(verifier, tokens.forge({"alg": "none", "typ": "at+jwt"}, hostile.claims(now))) == "wrong_algorithm"
    )


async def test_the_public_key_is_no_shared_secret_although_the_issuer_publishes_it_as_one(verifier, hostile, now):
    """Algorithm confusion, helped by the issuer: its key set names the public key's bytes as an HMAC key."""
    public = hostile.key.as_pem(private=False)
    hostile.answers["/jwks"] = tokens.public_set(hostile.key)
    hostile.answers["/jwks"]["keys"].append({"kty": "oct", "kid": "shared", "k": "c2VjcmV0"})
    header = {"alg": "HS256", "kid": "shared", "typ": "at+jwt"}

    assert await reason(verifier, tokens.hmac_signed(header, hostile.claims(now), public)) == "wrong_algorithm"
    forged = tokens.hmac_signed(header | {"alg": "ES256"}, hostile.claims(now), b"secret")
    assert await reason(verifier, forged) == "bad_signature"


async def test_an_rsa_key_does_not_make_an_es256_signature(verifier, hostile, now):
    rsa = tokens.key("RSA")
    hostile.answers["/jwks"] = tokens.public_set(hostile.key, rsa)

    assert await reason(verifier, tokens.sign(rsa, hostile.claims(now))) == "wrong_algorithm"
    assert await reason(verifier, tokens.forge({"alg": "ES256", "kid": rsa.kid, "typ": "at+jwt"}, hostile.claims(now), b"x" * 64)) == "bad_signature"  # fmt: skip


async def test_an_encryption_key_signs_nothing(verifier, hostile, now):
    published = dict(hostile.key.as_dict(private=False))
    hostile.answers["/jwks"] = {"keys": [published | {"use": "enc"}, dict(tokens.key().as_dict(private=False))]}

    assert await reason(verifier, hostile.sign(hostile.claims(now))) == "bad_signature"


async def test_a_claim_that_is_there_twice_is_refused(verifier, hostile, now):
    claims = json.dumps(hostile.claims(now))
    twice = claims[:-1] + ', "sub": "admin"}'
    head = tokens.forge({"alg": "ES256", "kid": hostile.key.kid, "typ": "at+jwt"}, {}).split(".")[0]
    body = tokens.base64.urlsafe_b64encode(twice.encode()).rstrip(b"=").decode()

    assert await reason(verifier, f"{head}.{body}.c2ln") == "not_a_jwt"


@pytest.mark.parametrize(
    "bomb", ["[" * 5500 + "]" * 5500, '{"a":' * 1500 + "1" + "}" * 1500, "NaN", '{"iss": Infinity}']
)
async def test_a_nested_document_breaks_nothing(verifier, bomb):
    text = tokens.base64.urlsafe_b64encode(bomb.encode()).rstrip(b"=").decode()

    assert await reason(verifier, f"e30.{text}.c2ln") == "not_a_jwt"


async def test_a_token_over_the_bound_is_refused_before_anything_of_it_is_read(verifier, hostile, now):
    token = hostile.sign(hostile.claims(now, padding="x" * MAX_TOKEN))

    assert await reason(verifier, token) == "too_long"
    assert hostile.asked == []


async def test_clocks_may_differ_by_thirty_seconds_and_no_more(verifier, hostile, now, clock):
    ahead = hostile.sign(hostile.claims(now + LEEWAY.total_seconds()))
    await verifier.verify(ahead)

    assert await reason(verifier, hostile.sign(hostile.claims(now + LEEWAY.total_seconds() + 1))) == "not_yet_valid"


async def test_an_endless_answer_is_cut(keys, hostile):
    hostile.answers["/jwks"] = endless

    with pytest.raises(DependencyUnavailable):
        await keys.keys("any")


async def test_a_compressed_answer_is_not_unpacked(keys, hostile):
    """A bomb of some KiB that unpacks to gigabytes: it is counted, and read, as it comes."""
    hostile.answers["/jwks"] = verbatim(b"\x1f\x8b" + b"\0" * 100, content_encoding="gzip")

    with pytest.raises(DependencyUnavailable):
        await keys.keys("any")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("slowness", [dripping, silent])
@pytest.mark.parametrize("path", ["/jwks", WELL_KNOWN])
async def test_a_slow_answer_ends_as_a_whole(keys, hostile, slowness, path):
    hostile.answers[path] = slowness(hostile)

    with pytest.raises(DependencyUnavailable):
        await asyncio.wait_for(keys.keys("any"), 20)


async def test_who_signs_in_elsewhere_does_not_wait_for_the_slow_one(hostile, http, clock, now):
    hostile.answers["/jwks"] = silent(hostile)
    with hostile_issuer() as honest:
        policies = [
            IssuerPolicy(one.url, "probegate", ("ES256",), ("at+jwt",), RemoteKeys(one.url, None, http, clock))
            for one in (hostile, honest)
        ]
        verifier = TokenVerifier(policies, clock)
        waiting = asyncio.create_task(verifier.verify(hostile.sign(hostile.claims(now))))
        while "/jwks" not in hostile.asked:  # noqa: ASYNC110 - the server is a thread
            await asyncio.sleep(0)
        await verifier.verify(honest.sign(honest.claims(now)))

        assert not waiting.done()
        hostile.patience.set()
        with pytest.raises(DependencyUnavailable):
            await waiting


async def test_who_has_a_known_key_does_not_wait_while_the_set_is_fetched_anew(verifier, hostile, clock, now):
    good = hostile.sign(hostile.claims(now))
    await verifier.verify(good)
    clock.advance(FRESH_FOR)
    hostile.answers["/jwks"] = silent(hostile)
    refreshing = asyncio.create_task(verifier.verify(good))
    while hostile.asked.count("/jwks") < 2:  # noqa: ASYNC110 - the server is a thread
        await asyncio.sleep(0)

    assert (await verifier.verify(good)).subject == "alice"
    assert not refreshing.done()
    hostile.patience.set()
    await refreshing


@pytest.mark.parametrize("path", ["/jwks", WELL_KNOWN])
async def test_a_redirect_leads_nowhere(keys, hostile, path):
    with hostile_issuer() as elsewhere:
        hostile.answers[path] = redirecting(elsewhere.url + path)
        with pytest.raises(DependencyUnavailable):
            await keys.keys("any")

        assert elsewhere.asked == []


@pytest.mark.parametrize(
    "address",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/jwks",
        "http://localhost:5432/",
        "https://user:secret@issuer.example/jwks",
        "file:///etc/passwd",
        "ftp://issuer.example/jwks",
        "//issuer.example/jwks",
        [],
        None,
    ],
)
async def test_a_document_does_not_lead_into_our_network(hostile, http, clock, address):
    hostile.discovery["jwks_uri"] = address

    with pytest.raises(DependencyUnavailable) as refused:
        await Discovery(hostile.url, http, clock).metadata()
    assert str(address) not in str(refused.value)


async def test_a_secure_issuer_names_no_insecure_address(hostile):
    with pytest.raises(ValueError, match="https"):
        fetching.checked_endpoint("http://issuer.example/token", "https://issuer.example")


async def test_a_thousand_unknown_keys_are_one_fetch_also_over_http(verifier, hostile, now, clock):
    await verifier.verify(hostile.sign(hostile.claims(now)))
    clock.advance(REFETCH_AFTER)
    strangers = [hostile.sign(hostile.claims(now), kid=f"made-up-{number}") for number in range(1000)]
    before = hostile.asked.count("/jwks")

    refused = await asyncio.gather(*(verifier.verify(token) for token in strangers), return_exceptions=True)

    assert {error.reason for error in refused} == {"bad_signature"}
    assert hostile.asked.count("/jwks") - before == 1


async def test_keys_by_the_thousand_are_not_taken(verifier, hostile, now):
    key = dict(hostile.key.as_dict(private=False))
    hostile.answers["/jwks"] = {"keys": [key | {"kid": str(number)} for number in range(65)]}

    with pytest.raises(DependencyUnavailable):
        await verifier.verify(hostile.sign(hostile.claims(now), kid="1"))


async def test_a_short_rsa_key_is_not_taken(clock, http, now):
    with hostile_issuer("RSA") as hostile:
        weak = tokens.RSAKey.generate_key(1024, private=True)
        weak.ensure_kid()
        hostile.answers["/jwks"] = tokens.public_set(weak)
        keys = RemoteKeys(hostile.url, None, http, clock)
        verifier = TokenVerifier([IssuerPolicy(hostile.url, "probegate", ("RS256",), ("at+jwt",), keys)], clock)

        with pytest.raises(DependencyUnavailable):
            await verifier.verify(tokens.sign(weak, hostile.claims(now)))


def test_the_bound_on_time_is_of_seconds():
    assert timedelta(0) < fetching.TIMEOUT <= timedelta(seconds=10)
