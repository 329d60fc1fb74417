"""A value that was cut inside an entity does not show the entity's beginning: every kind, cut at every character."""

import pytest

from agents.masking.detectors import KINDS
from agents.masking.entities import shown_of, spans_of

# (kind, what stands before it, an entity). None is anybody's: published examples and check digits made for the purpose.
ENTITIES = [
    ("CARD", "paid with ", "4111111111111111"),
    ("CARD", "paid with ", "4111 1111 1111 1111"),
    ("CARD", "paid with ", "3782-822463-10005"),
    ("IBAN", "to ", "DE89370400440532013000"),
    ("IBAN", "to ", "GB82 WEST 1234 5698 7654 32"),
    ("EMAIL", "mail ", "bob.smith@example.com"),
    ("EMAIL", "mail=", "bob.smith%40example.com"),
    ("PHONE", "call ", "+49 30 901820"),
    ("PHONE", "phone: ", "(212) 664-7665"),
    ("IPV4", "from ", "192.168.17.203"),
    ("IPV6", "from ", "2001:db8:85a3:8d3:1319:8a2e:370:7348"),
    ("MAC", "lease ", "00:1b:44:11:3a:b7"),
    ("US_SSN", "ssn ", "212-09-9998"),
    ("UK_NINO", "insured ", "AB 12 34 56 C"),
    ("UK_NHS", "nhs number ", "943 476 5919"),
    ("CH_AHV", "insured ", "756.9217.0769.85"),
    ("BR_CPF", "cpf ", "390.533.447-05"),
    ("PL_PESEL", "pesel ", "44051401359"),
    ("IT_CODICE_FISCALE", "cf ", "RSSMRA85T10A562S"),
    ("IN_AADHAAR", "aadhaar ", "2345 6789 0124"),
    ("PASSPORT", "passport ", "C01X00T47"),
    ("DATE_OF_BIRTH", "born ", "12 March 1980"),
    ("DATE_OF_BIRTH", "dob ", "1980-03-12"),
    ("GEO", "at ", "52.520008, 13.404954"),
    ("IMEI", "imei ", "490154203237518"),
    ("BITCOIN_ADDRESS", "to ", "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2"),
    ("ETHEREUM_ADDRESS", "to ", "0x52908400098527886E0F7030069857D2E4169EE7"),
    ("AWS_KEY", "key ", "AKIAIOSFODNN7EXAMPLE"),
    ("GITHUB_TOKEN", "with ", "ghp_16C7e42F292c6912E7710c838347Ae178B4a"),
    ("JWT", "cookie ", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"),
    (
        "PRIVATE_KEY",
        "-----BEGIN PRIVATE KEY-----\n",
        "MIIEvQIBADANBg kqhkiG9w0BAQ\nEFAASCBKcwggSj\n-----END PRIVATE KEY-----",
    ),
    ("BEARER_TOKEN", "Authorization: Bearer ", "a8f5f167f44f4964e6c998dee827110c"),
    ("BASIC_AUTH", "Authorization: Basic ", "Ym9iOmh1bnRlcjIhMTIz"),
    ("PASSWORD", "login password=", "correct-horse-9"),
    ("PASSWORD", 'login "password": "', "correct horse 9"),
    ("PASSWORD", "postgres://app:", "s3cr3t-w0rd"),
]
MIN_SHOWN = 4  # characters of an entity that may stand there by chance: "AB 1" of a national identifier shows nothing


@pytest.mark.parametrize(("kind", "before", "entity"), ENTITIES)
def test_the_whole_entity_is_found(kind, before, entity):
    after = "@db/x" if "://" in before else '"' if before.endswith('"') else " ok"
    text = before + entity + after
    assert any(s.kind == kind for s in spans_of(text, False)), (text, spans_of(text, False))
    assert entity not in shown_of(text, False)


def test_fewer_than_one_in_a_hundred_cut_entities_show_their_beginning():
    fragments = leaked = 0
    for _kind, before, entity in ENTITIES:
        for length in range(1, len(entity)):
            shown = shown_of(before + entity[:length], True)
            fragments += 1
            leaked += any(entity[:size] in shown for size in range(MIN_SHOWN, length + 1))
    assert fragments > 500
    assert leaked < fragments / 100, f"{leaked} of {fragments}"


def test_there_are_thirty_kinds_and_as_many_of_secrets():
    assert len(KINDS) > 90
