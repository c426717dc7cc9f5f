"""What a program calls, from the docstrings and signatures of ``emerge_ehr``."""

import inspect
from typing import Any

import emerge_ehr
from emerge_ehr import interface
from website.reference.markdown import prose


def page() -> str:
    """The page."""
    parts = [
        "# Python interface\n\n[From Python](../python.md) shows how it is used.\n\n" + prose(interface.__doc__),
        *(part(name, getattr(emerge_ehr, name)) for name in emerge_ehr.__all__),
    ]
    return "\n\n".join(parts)


def part(name: str, value: Any) -> str:
    """A function, or a class with its public methods and properties."""
    heading = f"## emerge_ehr.{name}\n\n"
    if not inspect.isclass(value):
        return f"{heading}{signature(name, value)}\n\n{prose(value.__doc__)}"
    members = [
        f"### {name}.{member}\n\n"
        + (f"{signature(member, found)}\n\n" if inspect.isfunction(found) else "")
        + prose(found.__doc__)
        for member, found in vars(value).items()
        if not member.startswith("_") and (inspect.isfunction(found) or isinstance(found, property))
    ]
    return "\n\n".join([heading + prose(value.__doc__), *members])


def signature(name: str, function: Any) -> str:
    """The signature as code, without modules before names."""
    said = (
        str(inspect.signature(function)).replace("collections.abc.", "").replace("pathlib.", "").replace("typing.", "")
    )
    return f"```python\n{name}{said}\n```"
