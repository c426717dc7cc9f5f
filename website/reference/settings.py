"""Every key of a config: its type, default, bounds and what it decides, from the dataclasses of ``config.py``; and what the
annotated config says of it."""

import dataclasses
import re
from pathlib import Path
from typing import Any

from emerge_ehr import components
from emerge_ehr.config import Config
from emerge_ehr.decides import statements
from emerge_ehr.fields import Component, plain
from website.reference.markdown import default, hints, kind, plain_text, prose, table

ANNOTATED = Path(__file__).resolve().parents[2] / "configs" / "mimic4_demo.toml"
DECIDES = {
    "tables": "the tables; then `convert` has to run again",
    "artefacts": "what `preprocess` makes of the tables",
    "training": "what is trained",
    "ending": "when training ends; a run that was stopped may be resumed with another value",
    "evaluation": "what `train` reports of the model",
    "report": "the report",
    None: "no result: where files lie, how fast, on which machines",
}
HEADER = ("key", "value", "default", "decides", "")


def page() -> str:
    """The page."""
    fields = {spec.name: spec for spec in dataclasses.fields(Config)}
    sections = [name for name in fields if is_section(hints(Config)[name])]
    top = [name for name in fields if name not in sections]
    parts = [
        "# Settings\n\nA config is a TOML file. These are all its keys, with their defaults. An unknown key, a wrong type or a "
        "bad choice is an error that names the key and the nearest right one. A plug's own keys are on "
        "[the page of plugs](plugs.md).\n\nThe column *decides* says what another value of a key changes first, and with it "
        "all that is made from it:\n\n"
        + table(("decides", ""), [(word or "nothing", said) for word, said in DECIDES.items()]),
        "## At the top\n\n"
        + prose(Config.__doc__)
        + "\n\n"
        + table(HEADER, [row("", fields[name], Config) for name in top]),
    ]
    for name in sections:
        shape = plain(hints(Config)[name])
        rows = [row(name, spec, shape) for spec in dataclasses.fields(shape)]
        parts.append(f"## [{name}]\n\n{prose(shape.__doc__)}\n\n{table(HEADER, rows)}")
    return "\n\n".join(parts)


def is_section(annotation: Any) -> bool:
    """Whether a field of ``Config`` is a table of keys rather than one value or a plug."""
    return dataclasses.is_dataclass(plain(annotation)) and plain(annotation) is not Component


def row(section: str, spec: "dataclasses.Field[Any]", shape: type[Any]) -> tuple[str, ...]:
    """The line of one key."""
    key = f"{section}.{spec.name}" if section else spec.name
    decided = statements(Config)[key].first or "nothing"
    socket = f"[plug](plugs.md#{anchor(key)})" if key in components.SOCKETS else kind(hints(shape)[spec.name])
    return f"`{spec.name}`", socket, default(spec), decided, plain_text(meanings().get(key, ""))


def anchor(socket: str) -> str:
    """The anchor of a socket's heading."""
    return re.sub(r"[^\w-]", "", socket)


def meanings() -> dict[str, str]:
    """Key -> what the comment beside it in the annotated config says."""
    found, section, last = dict[str, str](), "", ""
    for line in ANNOTATED.read_text("utf-8").splitlines():
        if heading := re.match(r"\[(\w+)\]", line):
            section, last = heading[1], ""
        elif entry := re.match(r'(?:# )?(\w+) = (?:"[^"]*"|\[.*?\](?= |$)|\{.*\}|[^#]*?) ?(?:# (.*))?$', line):
            last = f"{section}.{entry[1]}" if section else entry[1]
            found[last] = entry[2] or ""
        elif (more := re.match(r"# (?!\w+:|\w+, )(.*)", line)) and found.get(last):
            found[last] += " " + more[1]
    return found
