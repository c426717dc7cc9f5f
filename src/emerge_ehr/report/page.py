"""Makes the HTML: templates with autoescape, styles and script inline, and a policy that lets nothing else act.

What comes from data is text wherever it stands: Jinja escapes it, control characters and those that change the direction of
what follows become a visible sign, and the Content-Security-Policy names the hashes of our own style and script, so that
even markup which slipped through could neither run nor load anything.
"""

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from emerge_ehr.report import wording
from emerge_ehr.report.evidence import LONGEST_NOTE
from emerge_ehr.training.inputs import SPLITS

FOLDER = Path(__file__).parent / "templates"
REPLACEMENT = "\ufffd"
# ASCII and C1 controls but tab, line feed and carriage return; marks and overrides of direction; separators that
# scripts read as line ends; lone surrogates, which no encoding can carry; characters that are none
_UNSEEN = (
    *(range(0x00, 0x09)),
    0x0B,
    0x0C,
    *range(0x0E, 0x20),
    *range(0x7F, 0xA0),
    0x061C,
    0x200B,
    *range(0x200E, 0x2010),
    *range(0x2028, 0x202F),
    *range(0x2060, 0x2070),
    0xFEFF,
    *range(0xD800, 0xE000),
    *range(0xFFF9, 0xFFFC),
    0xFFFE,
    0xFFFF,
)
UNSEEN = dict.fromkeys(_UNSEEN, REPLACEMENT)


def inert(value: Any) -> Any:
    """A text with a visible sign for every character that cannot be seen; its length stays, so offsets hold.

    >>> inert("a\\u202eb\\x00")
    'a\\ufffdb\\ufffd'
    """
    if isinstance(value, Markup):
        return value
    return value.translate(UNSEEN) if isinstance(value, str) else value


@cache
def environment() -> Environment:
    """The templates; an undefined name is an error."""
    made = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        finalize=inert,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in (
        "percent",
        "points",
        "number",
        "decimal",
        "measured",
        "count",
        "plural",
        "ordinal",
        "metric",
        "attribute_title",
    ):
        made.filters[name] = getattr(wording, name)
    made.globals["split_titles"] = SPLITS
    made.globals["longest_note"] = LONGEST_NOTE
    return made


def render(name: str, content: Mapping[str, Any]) -> str:
    """A template filled with ``content``."""
    return environment().get_template(name).render(content)


def whole(content: Mapping[str, Any]) -> str:
    """The page."""
    style, script = ((FOLDER / name).read_text("utf-8") for name in ("style.css", "explorer.js"))
    own = {"style": Markup(style), "script": Markup(script), "policy": policy(style, script)}
    return render("report.html.j2", {**content, **own})


def policy(style: str, script: str) -> str:
    """Nothing is loaded, sent or framed; only this style and this script act."""
    return (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
