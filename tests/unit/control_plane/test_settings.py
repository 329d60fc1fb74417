"""The environment becomes settings, or the start-up stops and names the variable."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from control_plane.settings import BadSetting, Profile, read_settings

PRODUCTION = {
    "PROBEGATE_PROFILE": "production",
    "PROBEGATE_PUBLIC_URL": "https://probegate.example",
    "PROBEGATE_ISSUERS": json.dumps([{"issuer": "https://issuer.example"}]),
}


def test_nothing_set_is_one_machine_with_everything_embedded():
    settings = read_settings({"PROBEGATE_STATE": "/var/lib/probegate"})

    assert settings.database_url == "sqlite+aiosqlite:////var/lib/probegate/probegate.db"
    assert (settings.redis_url, settings.embedded_issuer, settings.profile) == (None, True, Profile.DEVELOPMENT)
    assert (settings.public_url, settings.lease) == ("http://127.0.0.1:8440", timedelta(seconds=60))
    assert settings.keys == Path("/var/lib/probegate/keys")


def test_production_names_its_issuer():
    settings = read_settings(PRODUCTION)

    assert not settings.embedded_issuer
    assert settings.issuers[0].types == ("at+jwt",)


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        (PRODUCTION | {"PROBEGATE_EMBEDDED_ISSUER": "true"}, "PROBEGATE_EMBEDDED_ISSUER"),
        (PRODUCTION | {"PROBEGATE_ISSUERS": ""}, "PROBEGATE_ISSUERS"),
        (PRODUCTION | {"PROBEGATE_ISSUERS": "[]"}, "PROBEGATE_ISSUERS"),
        (PRODUCTION | {"PROBEGATE_ISSUERS": "{"}, "PROBEGATE_ISSUERS"),
        (PRODUCTION | {"PROBEGATE_ISSUERS": '[{"issuer": "http://issuer.example"}]'}, "PROBEGATE_ISSUERS"),
        (
            PRODUCTION | {"PROBEGATE_ISSUERS": '[{"issuer": "https://i.example", "algorithm": "none"}]'},
            "PROBEGATE_ISSUERS",
        ),
        (
            PRODUCTION | {"PROBEGATE_ISSUERS": '[{"issuer": "https://i.example", "algorithms": "RS256"}]'},
            "PROBEGATE_ISSUERS",
        ),
        (PRODUCTION | {"PROBEGATE_PUBLIC_URL": "http://probegate.example"}, "PROBEGATE_PUBLIC_URL"),
        ({"PROBEGATE_PUBLIC_URL": "http://10.0.0.7:8440"}, "PROBEGATE_PUBLIC_URL"),
        ({"PROBEGATE_HTTP_LISTEN": "0.0.0.0:8440"}, "PROBEGATE_PUBLIC_URL"),
        ({"PROBEGATE_PROFILE": "Production"}, "PROBEGATE_PROFILE"),
        ({"PROBEGATE_HTTP_LISTEN": "8440"}, "PROBEGATE_HTTP_LISTEN"),
        ({"PROBEGATE_GRPC_LISTEN": "127.0.0.1:99999"}, "PROBEGATE_GRPC_LISTEN"),
        ({"PROBEGATE_LEASE_SECONDS": "1"}, "PROBEGATE_LEASE_SECONDS"),
        ({"PROBEGATE_LEASE_SECONDS": "60s"}, "PROBEGATE_LEASE_SECONDS"),
        ({"PROBEGATE_LEASE_SECONDS": "301"}, "PROBEGATE_LEASE_SECONDS"),
        ({"PROBEGATE_MAX_TTL": "one day"}, "PROBEGATE_MAX_TTL"),
        ({"PROBEGATE_EMBEDDED_ISSUER": "false"}, "PROBEGATE_ISSUERS"),
        ({"PROBEGATE_EMBEDDED_ISSUER": "yes"}, "PROBEGATE_EMBEDDED_ISSUER"),
    ],
)
def test_what_cannot_be_used_is_named(environ, names):
    with pytest.raises(BadSetting, match=names):
        read_settings(environ)


def test_an_ipv6_address_is_read_and_written_with_its_brackets():
    settings = read_settings({"PROBEGATE_HTTP_LISTEN": "[::1]:8440"})

    assert (settings.http_listen.host, str(settings.http_listen), settings.public_url) == (
        "::1",
        "[::1]:8440",
        "http://[::1]:8440",
    )


def test_durations_are_exact():
    assert read_settings({"PROBEGATE_MAX_TTL": "1h30m", "PROBEGATE_LEASE_SECONDS": "5"}).max_ttl == timedelta(
        minutes=90
    )
