"""What a requester chose -> the values of a template's parameters, and those values put into expressions.

Values from a command line come as text and are read by the parameter's type; everything is checked against the bounds
that were approved. `substitute` leaves an expression without `params.x`, which is what the compiler wants.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Final

from language.errors import TemplateError
from language.model import ParameterScalar, ParameterSpec, ParameterType, Template
from language.rules import fits
from language.syntax import (
    And,
    Arithmetic,
    Attribute,
    Builtin,
    Compare,
    Constant,
    Deref,
    Expression,
    Index,
    Len,
    Name,
    Not,
    Or,
    Param,
    Ret,
    Slice,
)

_INTEGER: Final = re.compile(r"-?[0-9]{1,20}", re.ASCII)
_BOOLEANS: Final = {"true": True, "false": False}


def bind(template: Template, given: Mapping[str, ParameterScalar | str]) -> Mapping[str, ParameterScalar]:
    """Every parameter of the template with its value. Raises TemplateError for an unknown, missing or unfit one."""
    known = {parameter.name: parameter for parameter in template.parameters}
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, 1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            names = ", ".join(known) or "none"
            raise TemplateError(f"{template.name} has no parameter {name[:80]!r}{meant} (its parameters: {names})")
    return {name: _value(parameter, given.get(name, parameter.default)) for name, parameter in known.items()}


def substitute(expression: Expression, values: Mapping[str, ParameterScalar]) -> Expression:
    """The same expression with a Constant in place of every Param. Raises TemplateError for one that has no value."""
    match expression:
        case Param(name):
            if name not in values:
                raise TemplateError(f"the parameter {name!r} has no value")
            return Constant(values[name])
        case Attribute() | Index() | Slice() | Len() | Deref() | Not():
            return replace(expression, value=substitute(expression.value, values))
        case Compare(op, left, right):
            side = right if isinstance(right, tuple) else substitute(right, values)
            return Compare(op, substitute(left, values), side)
        case Arithmetic(op, left, right):
            return Arithmetic(op, substitute(left, values), substitute(right, values))
        case And(parts):
            return And(tuple(substitute(part, values) for part in parts))
        case Or(parts):
            return Or(tuple(substitute(part, values) for part in parts))
        case Name() | Ret() | Builtin() | Constant():
            return expression


def _value(parameter: ParameterSpec, given: ParameterScalar | None) -> ParameterScalar:
    if given is None:
        raise TemplateError(f"the parameter {parameter.name!r} ({_kind(parameter)}) needs a value: it has no default")
    value = _typed(parameter, given)
    try:
        fits(parameter, value)
    except ValueError as error:
        raise TemplateError(f"the parameter {parameter.name!r}: {error}") from error
    return value


def _typed(parameter: ParameterSpec, given: ParameterScalar) -> ParameterScalar:
    if isinstance(given, str) and parameter.type is ParameterType.INT and _INTEGER.fullmatch(given):
        return int(given)
    if isinstance(given, str) and parameter.type is ParameterType.BOOL:
        return _BOOLEANS.get(given.lower(), given)
    return given


def _kind(parameter: ParameterSpec) -> str:
    match parameter.type:
        case ParameterType.INT:
            return f"int from {parameter.min} to {parameter.max}"
        case ParameterType.STRING if parameter.choices:
            return f"one of {', '.join(parameter.choices)}"
        case ParameterType.STRING:
            return f"string of at most {parameter.max_length} bytes"
        case ParameterType.BOOL:
            return "bool"
