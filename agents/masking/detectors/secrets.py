"""Tokens and keys of vendors, by the prefix that they were given to be found by; a checksum where the vendor has one.

A token whose checksum is wrong is hidden too: it may be mistyped by one letter, and nothing is lost by hiding it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agents.masking.detectors.context import Words
from agents.masking.detectors.model import Detector, Span
from agents.masking.detectors.shapes import shape
from agents.masking.patterns import compiled

_WORD: Final = r"[A-Za-z0-9_\-]"


@dataclass(frozen=True)
class Vendor:
    """`prefix` is what Vectorscan looks for, with the first characters of the rest; `rest` what RE2 finds the end by."""

    kind: str
    prefix: str
    rest: str
    enough: str = ""  # of the rest, for the trigger

    def detector(self) -> Detector:
        pattern = f"(?:{self.prefix})(?:{self.rest})"

        def find(text: str, _vouched: bool) -> list[Span]:
            return [
                Span(match.start(), match.end(), self.kind)
                for match in compiled(pattern).finditer(text)
                if not text[match.start() - 1 : match.start()].isalnum() or match.start() == 0
            ]

        return Detector(self.kind, f"(?:{self.prefix})(?:{self.enough})", find)


VENDORS: Final[tuple[Vendor, ...]] = (
    Vendor(
        "AWS_KEY", r"A3T[A-Z0-9]|AKIA|ASIA|AGPA|AIDA|AROA|AIPA|ANPA|ANVA|ABIA|ACCA", r"[A-Z0-9]{16}", r"[A-Z0-9]{16}"
    ),
    Vendor("GITHUB_TOKEN", r"gh[pousr]_", r"[A-Za-z0-9]{36,}", r"[A-Za-z0-9]{10}"),
    Vendor("GITHUB_TOKEN", r"github_pat_", r"[A-Za-z0-9_]{22,}", r"[A-Za-z0-9_]{10}"),
    Vendor(
        "GITLAB_TOKEN",
        r"gl(?:pat|dt|ft|soat|rt|cbt|ptt|agent|oas|imt|ffct)-|GR1348941|glrt-",
        r"[A-Za-z0-9_\-]{20,64}(?:\.[0-9a-z.]{2,24})?",
        r"[A-Za-z0-9_\-]{15}",
    ),
    Vendor("SLACK_TOKEN", r"xox[abeoprs]-|xapp-|xoxe\.xox[bp]-", r"[A-Za-z0-9\-]{10,}", r"[A-Za-z0-9\-]{10}"),
    Vendor(
        "SLACK_WEBHOOK",
        r"hooks\.slack\.com/(?:services|workflows|triggers)/",
        r"[A-Za-z0-9/]{20,}",
        r"[A-Za-z0-9/]{10}",
    ),
    Vendor("STRIPE_KEY", r"[sr]k_(?:live|test|prod)_", r"[0-9A-Za-z]{10,}", r"[0-9A-Za-z]{10}"),
    Vendor("STRIPE_KEY", r"whsec_", r"[0-9A-Za-z+/]{24,90}=?", r"[0-9A-Za-z+/]{10}"),
    Vendor("GOOGLE_KEY", r"AIza", r"[0-9A-Za-z_\-]{35}", r"[0-9A-Za-z_\-]{10}"),
    Vendor("GOOGLE_TOKEN", r"ya29\.|1//0[0-9A-Za-z]|GOCSPX-", r"[0-9A-Za-z_\-]{20,}", r"[0-9A-Za-z_\-]{10}"),
    Vendor("TWILIO_KEY", r"AC|SK", r"[0-9a-f]{32}", r"[0-9a-f]{10}"),
    Vendor("SENDGRID_KEY", r"SG\.", r"[0-9A-Za-z_\-]{16,32}\.[0-9A-Za-z_\-]{16,64}", r"[0-9A-Za-z_\-]{10}"),
    Vendor("MAILGUN_KEY", r"key-", r"[0-9a-f]{32}", r"[0-9a-f]{10}"),
    Vendor("MAILCHIMP_KEY", r"[0-9a-f]{32}-us", r"[0-9]{1,2}", r"[0-9]"),
    Vendor("NPM_TOKEN", r"npm_", r"[0-9A-Za-z]{36}", r"[0-9A-Za-z]{10}"),
    Vendor("NPM_TOKEN", r"_authToken=\s*", r"[0-9A-Za-z_\-+/=]{20,}", r"[0-9A-Za-z_\-]{10}"),
    Vendor("PYPI_TOKEN", r"pypi-AgE", r"[0-9A-Za-z_\-]{50,}", r"[0-9A-Za-z_\-]{10}"),
    Vendor("RUBYGEMS_KEY", r"rubygems_", r"[0-9a-f]{48}", r"[0-9a-f]{10}"),
    Vendor("DOCKER_TOKEN", r"dckr_(?:pat|oat)_", r"[0-9A-Za-z_\-]{20,64}", r"[0-9A-Za-z_\-]{10}"),
    Vendor("DIGITALOCEAN_TOKEN", r"do[opr]_v1_", r"[0-9a-f]{64}", r"[0-9a-f]{10}"),
    Vendor("SHOPIFY_TOKEN", r"shp(?:at|ca|pa|ss)_", r"[0-9A-Fa-f]{32}", r"[0-9A-Fa-f]{10}"),
    Vendor("SQUARE_TOKEN", r"sq0[a-z]{3}-|EAAA", r"[0-9A-Za-z_\-+=]{22,64}", r"[0-9A-Za-z_\-+=]{10}"),
    Vendor("TELEGRAM_TOKEN", r"[0-9]{8,10}:", r"[0-9A-Za-z_\-]{35}", r"[0-9A-Za-z_\-]{10}"),
    Vendor(
        "DISCORD_TOKEN",
        r"[MNO][0-9A-Za-z_\-]{23,27}\.",
        r"[0-9A-Za-z_\-]{6}\.[0-9A-Za-z_\-]{27,38}",
        r"[0-9A-Za-z_\-]{6}\.",
    ),
    Vendor(
        "OPENAI_KEY",
        r"sk-(?:proj|svcacct|admin|None)-|sk-[0-9A-Za-z_\-]{20,80}T3BlbkFJ",
        r"[0-9A-Za-z_\-]{20,}",
        r"[0-9A-Za-z_\-]{16}",
    ),
    Vendor("ANTHROPIC_KEY", r"sk-ant-", r"[0-9A-Za-z_\-]{20,}", r"[0-9A-Za-z_\-]{10}"),
    Vendor("HUGGINGFACE_TOKEN", r"hf_|api_org_", r"[0-9A-Za-z]{34}", r"[0-9A-Za-z]{10}"),
    Vendor("DATABRICKS_TOKEN", r"dapi", r"[0-9a-f]{32}(?:-[0-9])?", r"[0-9a-f]{10}"),
    Vendor("ATLASSIAN_TOKEN", r"ATATT3|ATCTT3|ATBB", r"[0-9A-Za-z_\-=]{24,}", r"[0-9A-Za-z_\-=]{10}"),
    Vendor("LINEAR_KEY", r"lin_(?:api|oauth)_", r"[0-9A-Za-z]{40,64}", r"[0-9A-Za-z]{10}"),
    Vendor("GRAFANA_TOKEN", r"gl(?:c|sa)_", r"[0-9A-Za-z_+/=]{32,}", r"[0-9A-Za-z_+/=]{10}"),
    Vendor("VAULT_TOKEN", r"hv[sbr]\.", r"[0-9A-Za-z_\-]{20,}", r"[0-9A-Za-z_\-]{10}"),
    Vendor("ARTIFACTORY_KEY", r"AKC|AP[0-9A-F]", r"[0-9A-Za-z]{10,}", r"[0-9A-Za-z]{10}"),
    Vendor("POSTMAN_KEY", r"PMAK-", r"[0-9a-f]{24}-[0-9a-f]{34}", r"[0-9a-f]{10}"),
    Vendor("NEWRELIC_KEY", r"NR(?:AK|JS|II|AL)-", r"[0-9A-Za-z_\-]{19,64}", r"[0-9A-Za-z_\-]{10}"),
    Vendor("SENTRY_TOKEN", r"sntrys_|sntryu_", r"[0-9A-Za-z_+/=\-]{40,}", r"[0-9A-Za-z_+/=\-]{10}"),
    Vendor("PLANETSCALE_TOKEN", r"pscale_(?:tkn|pw|oauth)_", r"[0-9A-Za-z_=.\-]{32,64}", r"[0-9A-Za-z_=.\-]{10}"),
    Vendor("DOPPLER_TOKEN", r"dp\.(?:pt|st|ct|sa)\.", r"[0-9A-Za-z_.\-]{40,90}", r"[0-9A-Za-z_.\-]{10}"),
    Vendor("FLY_TOKEN", r"fo1_|fm[12][a-z]?_", r"[0-9A-Za-z_+/=\-]{40,}", r"[0-9A-Za-z_+/=\-]{10}"),
    Vendor("AGE_KEY", r"AGE-SECRET-KEY-1", r"[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}", r"[A-Z0-9]{10}"),
    Vendor(
        "AZURE_KEY",
        r"AccountKey=|SharedAccessKey=|SharedAccessSignature=|[?&;]sig=",
        r"[0-9A-Za-z+/%=]{32,}",
        r"[0-9A-Za-z+/%]{16}",
    ),
    Vendor("AZURE_SECRET", r"[0-9A-Za-z_~.]{3}8Q~", r"[0-9A-Za-z_~.\-]{31,34}", r"[0-9A-Za-z_~.\-]{10}"),
    Vendor("JWT", r"eyJ[0-9A-Za-z_\-]{5,}\.", r"[0-9A-Za-z_\-]{2,}(?:\.[0-9A-Za-z_\-]*)?", ""),
)
_JWT_TRIGGER: Final = r"eyJ[0-9A-Za-z_\-]{5}"

# Keys without a prefix, that the vendor's name beside them gives away.
_NAMED: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    (
        "AWS_SECRET",
        r"[0-9A-Za-z+/]{40}",
        ("aws", "aws secret", "aws key", "secret access key", "aws secret access key"),
    ),
    ("IBM_KEY", rf"{_WORD}{{44}}|[0-9a-f]{{48}}", ("ibm", "ibm cloud", "iam", "cos", "ibm api key", "apikey")),
    ("SOFTLAYER_KEY", r"[0-9a-z]{64}", ("softlayer", "sl", "sl api key", "softlayer api key")),
    ("CLOUDANT_KEY", r"[0-9a-f]{64}|[a-z]{24}", ("cloudant", "cloudant password", "cloudant api key", "cl", "clou")),
    (
        "HEROKU_KEY",
        r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}",
        ("heroku", "heroku api key"),
    ),
    ("DATADOG_KEY", r"[0-9a-f]{40}|[0-9a-f]{32}", ("datadog", "dd api key", "dd app key", "datadog api key")),
)

DETECTORS: Final[tuple[Detector, ...]] = (
    *(
        vendor.detector() if vendor.kind != "JWT" else Detector("JWT", _JWT_TRIGGER, vendor.detector().find)
        for vendor in VENDORS
    ),
    *(shape(kind, pattern, words=Words(*words)) for kind, pattern, words in _NAMED),
)
