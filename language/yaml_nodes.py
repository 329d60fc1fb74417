"""YAML text -> a tree of nodes with their places, and the strict reading of single values.

Bounded before anything is built: size, depth, count. No anchors, aliases, tags, merge keys or second documents, and no
key twice; YAML's surprises (`on` is true, `1:30` is ninety, `010` is eight) are refused with what to write instead.
`yaml_front_end` gives the tree its meaning.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from difflib import get_close_matches
from typing import Any, Final, NoReturn

import yaml

from language import expressions
from language.errors import ExpressionError, TemplateError
from language.model import Position

MAX_SOURCE: Final = 65_536  # characters; a template at every bound fits, a bomb does not
MAX_DEPTH: Final = 12  # levels; the deepest template has five
MAX_NODES: Final = 4_096
_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,18})", re.ASCII)
_TEXT_TAG: Final = "tag:yaml.org,2002:str"
_NULL_TAG: Final = "tag:yaml.org,2002:null"


class _Loader(yaml.SafeLoader):
    """Composes nodes only; nothing is constructed."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._count = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        place = position(event.start_mark)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise TemplateError("anchors and aliases are not part of the template language: write the value out", place)
        if getattr(event, "tag", None) is not None:
            raise TemplateError(f"tags ({event.tag}) are not part of the template language", place)
        self._count += 1
        self._depth += 1
        if self._count > MAX_NODES or self._depth > MAX_DEPTH:
            raise TemplateError(f"a template has at most {MAX_NODES} values, {MAX_DEPTH} levels deep", place)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def tree(text: str) -> Mapping:
    """The one document of the text, a mapping. Raises TemplateError."""
    if len(text) > MAX_SOURCE:
        raise TemplateError(f"a template has at most {MAX_SOURCE} characters, {len(text)} came")
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise TemplateError(f"not YAML: {error.problem or error.context}", position(mark)) from error
    except yaml.reader.ReaderError as error:
        raise TemplateError(f"not YAML: {error.reason} at character {error.position}") from error
    finally:
        if loader is not None:
            loader.dispose()
    if node is None:
        raise TemplateError("the template is empty")
    return Mapping(node, "the template", text)


class Value:
    """One node and what it is called, for error texts."""

    def __init__(self, node: yaml.Node, name: str, source: str) -> None:
        self._node = node
        self.name = name
        self._source = source

    @property
    def position(self) -> Position | None:
        return position(self._node.start_mark)

    def refuse(self, problem: str) -> NoReturn:
        raise TemplateError(problem, self.position)

    def mapping(self) -> Mapping:
        return Mapping(self._node, self.name, self._source)

    def items(self) -> list[Value]:
        if not isinstance(self._node, yaml.SequenceNode):
            self.refuse(f"{self.name} is a list, {_kind(self._node)} came")
        return [Value(node, f"an item of {self.name}", self._source) for node in self._node.value]

    @property
    def is_mapping(self) -> bool:
        return isinstance(self._node, yaml.MappingNode)

    @property
    def is_text(self) -> bool:
        return isinstance(self._node, yaml.ScalarNode) and self._node.tag == _TEXT_TAG

    def text(self) -> str:
        """A string, written as one: quoted, or plain where YAML sees no other type in it."""
        if not self.is_text:
            self.refuse(f"{self.name} is text, {_kind(self._node)} came: put it in quotes")
        return str(self._node.value)

    def plain(self) -> str:
        """The characters of any scalar, whatever type YAML sees in it."""
        if not isinstance(self._node, yaml.ScalarNode) or self._node.tag == _NULL_TAG:
            self.refuse(f"{self.name} is text, {_kind(self._node)} came")
        return str(self._node.value)

    def integer(self) -> int:
        if not (isinstance(self._node, yaml.ScalarNode) and not self._quoted and _INTEGER.fullmatch(self._node.value)):
            self.refuse(f"{self.name} is a whole number in plain decimal digits, {_kind(self._node)} came")
        return int(self._node.value)

    def boolean(self) -> bool:
        if not isinstance(self._node, yaml.ScalarNode) or self._quoted or self._node.value not in {"true", "false"}:
            self.refuse(f"{self.name} is true or false, {_kind(self._node)} came")
        return bool(self._node.value == "true")

    def expression(self, parameters: Collection[str]) -> str:
        """The expression in its one spelling; an error in it has its place in the YAML."""
        text = self.plain()
        try:
            return expressions.render(expressions.parse(text, parameters))
        except ExpressionError as error:
            raise ExpressionError(f"{self.name}: {error.problem}", self._inside(text, error.position)) from error

    @property
    def _quoted(self) -> bool:
        return getattr(self._node, "style", None) is not None

    def _inside(self, text: str, inner: Position | None) -> Position | None:
        """Where a column of the text stands in the source, if it stands there as it is; else where the node begins."""
        begin, end = self._node.start_mark, self._node.end_mark
        raw = self._source[begin.index : end.index]
        shift = {text: 0, f'"{text}"': 1, f"'{text}'": 1}.get(raw.rstrip())
        if inner is None or shift is None or "\n" in text:
            return self.position
        return Position(begin.line + 1, begin.column + shift + inner.column)


class Mapping(Value):
    """A mapping with text keys, none of them twice."""

    def __init__(self, node: yaml.Node, name: str, source: str) -> None:
        super().__init__(node, name, source)
        if not isinstance(node, yaml.MappingNode):
            self.refuse(f"{name} is a mapping of names to values, {_kind(node)} came")
        self.entries: dict[str, Value] = {}
        self._keys: dict[str, Value] = {}
        for key_node, value_node in node.value:
            key = Value(key_node, f"a key of {name}", source)
            word = key.plain()
            if word in self.entries:
                key.refuse(f"the key {word!r} is there twice")
            self._keys[word] = key
            self.entries[word] = Value(value_node, word, source)

    def key_position(self, key: str) -> Position | None:
        return self._keys[key].position if key in self._keys else self.position

    def only(self, *known: str) -> Mapping:
        """Refuse every other key, with the nearest known one."""
        for word, key in self._keys.items():
            if word not in known:
                near = get_close_matches(word, known, 1)
                meant = f"; did you mean {near[0]!r}?" if near else ""
                key.refuse(f"{self.name} has no key {word[:80]!r}{meant} (its keys: {', '.join(known)})")
        return self

    def required(self, key: str) -> Value:
        value = self.optional(key)
        if value is None:
            self.refuse(f"{self.name} needs the key {key!r}")
        return value

    def optional(self, key: str) -> Value | None:
        """The value; None when the key is absent. A key without a value is an error: was it meant to be empty?"""
        value = self.entries.get(key)
        if value is not None and value._node.tag == _NULL_TAG:  # noqa: SLF001
            value.refuse(f"{key} has no value: give one or leave the key out")
        return value


def position(mark: yaml.Mark | None) -> Position | None:
    return None if mark is None else Position(mark.line + 1, mark.column + 1)


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    word = str(node.tag).rpartition(":")[2]
    named = {"str": "text", "int": "a number", "float": "a number", "bool": "a boolean", "null": "nothing"}
    return f"{named.get(word, f'a {word}')} ({node.value[:40]!r})"
