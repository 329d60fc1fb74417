"""Source text -> Script, whichever of the two languages it is written in.

A YAML template is a script with one deployment of it: under its own name, on its own target, for its own TTL.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

from language import pxl_front_end, yaml_front_end
from language.errors import TemplateError
from language.script import Deployment, Script

_YAML: Final = re.compile(r"^\s*[{,]?\s*[\"']?apiVersion[\"']?\s*:", re.MULTILINE)
_PXL: Final = re.compile(r"^\s*(?:import|from)\s+px|^\s*@?px\w*\.", re.MULTILINE)


class SourceLanguage(StrEnum):
    YAML = "yaml"
    PXL = "pxl"


def language_of(text: str) -> SourceLanguage:
    """Which of the two this is. Raises TemplateError when it is neither."""
    if _YAML.search(text):
        return SourceLanguage.YAML
    if _PXL.search(text):
        return SourceLanguage.PXL
    raise TemplateError(
        "neither a YAML template (it begins with `apiVersion: probegate/v1`) nor a PxL script (it begins with `import pxtrace`)"
    )


def load(text: str) -> Script:
    """Read a template or a script. Raises TemplateError with line and column."""
    if language_of(text) is SourceLanguage.PXL:
        return pxl_front_end.load(text)
    template = yaml_front_end.load(text)
    return Script((Deployment(template.name, template.table, template, template.target, template.limits.ttl),))
