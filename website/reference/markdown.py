"""Docstrings, types and tables as Markdown."""

import dataclasses
import inspect
import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt

from emerge_ehr.fields import Component, listed

SIGNS = {Ge: "at least {ge}", Gt: "above {gt}", Le: "at most {le}", Lt: "below {lt}"}


def prose(docstring: str | None) -> str:
    """A docstring as Markdown: its ``Raises`` section in a sentence.

    >>> prose("Read ``x``.\\n\\nRaises:\\n    UserError: it is missing.")
    'Read `x`.\\n\\n**Raises** `UserError`: it is missing.'
    """
    text = plain_text(inspect.cleandoc(docstring or "").replace("``", "`"))
    return re.sub(r"^Raises:\n\s+(\w+): ", r"**Raises** `\1`: ", text, flags=re.MULTILINE)


def plain_text(text: str) -> str:
    """Text of the code with links to the pages it names, and without what would be markup outside of code.

    >>> plain_text("See docs/llm.md: `a<b>`, <name>.")
    'See [llm.md](../llm.md): `a<b>`, &lt;name>.'
    """
    outside = re.split(r"(`[^`]*`)", text)
    outside[::2] = [re.sub(r"docs/(\w+\.md)", r"[\1](../\1)", part.replace("<", "&lt;")) for part in outside[::2]]
    return "".join(outside)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose cells may hold anything but a line break."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def kind(annotation: Any) -> str:
    """A setting's type in words, with its choices and bounds.

    >>> kind(Annotated[int, Ge(0)]), kind(Literal["a", "b"]), kind(tuple[float, ...])
    ('whole number, at least 0', '`"a"` or `"b"`', 'list of: number')
    """
    if get_origin(annotation) is Annotated:
        plain, *notes = get_args(annotation)
        bounds = [SIGNS[type(note)].format(**vars_of(note)) for note in notes if type(note) in SIGNS]
        return ", ".join([kind(plain), *bounds])
    if get_origin(annotation) is Literal:
        return " or ".join(f'`"{choice}"`' for choice in get_args(annotation))
    if get_origin(annotation) is tuple:
        return f"list of: {kind(get_args(annotation)[0])}"
    arguments = [one for one in get_args(annotation) if one is not type(None)]
    if type(None) in get_args(annotation):
        return f"{' or '.join(map(kind, arguments))}; may be left out"
    if arguments and get_origin(annotation) not in (dict, *_mappings()):
        return " or ".join(map(kind, arguments))
    names = {
        int: "whole number",
        float: "number",
        bool: "`true` or `false`",
        str: "text",
        Component: "[plug](plugs.md)",
    }
    return names.get(annotation) or ("path" if getattr(annotation, "__name__", "") == "Path" else "table")


def vars_of(note: Any) -> dict[str, Any]:
    """The bound that a note of ``annotated_types`` holds, by its name."""
    return {spec.name: getattr(note, spec.name) for spec in dataclasses.fields(note)}


def default(spec: "dataclasses.Field[Any]") -> str:
    """A field's default as TOML would have it; empty where there is none, or none that TOML can say."""
    value = spec.default_factory() if spec.default_factory is not dataclasses.MISSING else spec.default
    return "" if value is dataclasses.MISSING or value is None else f"`{toml(value)}`"


def toml(value: Any) -> str:
    """A value as TOML has it.

    >>> toml(True), toml((1, 2)), toml("x"), toml(Component("gru", {"layers": 2}))
    ('true', '[1, 2]', '"x"', '{ name = "gru", layers = 2 }')
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Component):
        given = "".join(f", {key} = {toml(one)}" for key, one in value.options.items())
        return f'{{ name = "{value.name}"{given} }}' if given else f'"{value.name}"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(one)}" for key, one in value.items()) + " }" if value else "{}"
    return str(value) if isinstance(value, int | float) else f'"{value}"'


def hints(shape: type[Any]) -> dict[str, Any]:
    """The annotations of a dataclass, with what is annotated to them."""
    return get_type_hints(shape, include_extras=True)


def sentence(words: Sequence[str]) -> str:
    """Words in code style, as in a sentence; a dash where there are none."""
    return listed([f"`{word}`" for word in words]) if words else "-"


def _mappings() -> tuple[Any, ...]:
    from collections.abc import Mapping

    return (Mapping,)
