"""Every socket with its plugs and their options, from the packages of the sockets."""

import dataclasses
import importlib
from typing import Any

from emerge_ehr import components
from website.reference.markdown import default, hints, kind, prose, table
from website.reference.settings import anchor


def page() -> str:
    """The page."""
    intro = (
        "# Plugs\n\nWhat a config chooses by name is a plug, and a plug may have options: "
        '`[model] series = { name = "transformer", layers = 2 }`. A name with a dot is a plug of another package: '
        "[Plugs of your own](../plugs.md)."
    )
    return "\n\n".join([intro, *map(socket_part, components.SOCKETS)])


def socket_part(socket: str) -> str:
    """A socket: what it is for, and a part for each of its own plugs."""
    package = components.SOCKETS[socket]
    others = components.ADAPTED.get(socket)
    also = f"Every plug of [`{others[0]}`](#{anchor(others[0])}) serves here too.\n\n" if others else ""
    borrowed = components.names(others[0]) if others else []
    own = [name for name in components.names(socket) if name not in borrowed]
    about = prose(importlib.import_module(package).__doc__)
    return f"## `{socket}`\n\n{about}\n\n{also}" + "\n\n".join(plug_part(socket, name) for name in own)


def plug_part(socket: str, name: str) -> str:
    """A plug: what its module says, and its options."""
    plug = components.plug(socket, name)
    fields = [spec for spec in dataclasses.fields(plug.Options) if spec.init]
    rows = [(f"`{spec.name}`", kind(hints(plug.Options)[spec.name]), default(spec)) for spec in fields]
    options = f"\n\n{stated(plug.Options)}{table(('option', 'value', 'default'), rows)}" if rows else ""
    return f"### {name}\n\n{prose(plug.__doc__)}{options}"


def stated(options: type[Any]) -> str:
    """What the options' own docstring says; nothing where it is the signature that Python makes."""
    about = options.__doc__ or ""
    return "" if about.startswith("Options(") else prose(about) + "\n\n"
