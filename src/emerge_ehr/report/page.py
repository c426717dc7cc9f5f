"""Makes the HTML: templates with autoescape, style and script inline, and a security policy that allows nothing else.

What comes from data is always text: Jinja escapes it, and control characters and those that change the direction of the
following text become a visible sign. The Content-Security-Policy names the hashes of our own style and script, so that even
markup which slipped through could neither run nor load anything.
"""

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from emerge_ehr.report import told_by_notes, wording
from emerge_ehr.report.evidence import LONGEST_NOTE
from emerge_ehr.training.inputs import SPLITS

FOLDER = Path(__file__).parent / "templates"
REPLACEMENT = "\ufffd"
# ASCII and C1 controls except tab, line feed and carriage return; marks and overrides of direction; separators that
# scripts read as line ends; lone surrogates, which cannot be encoded; code points that are not characters
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
    """Replace every invisible character of a text by a visible sign; the length stays the same, so offsets remain valid.

    >>> inert("a\\u202eb\\x00")
    'a\\ufffdb\\ufffd'
    """
    if isinstance(value, Markup):
        return value
    return value.translate(UNSEEN) if isinstance(value, str) else value


@cache
def environment() -> Environment:
    """The environment of the templates, with their filters; an undefined name is an error."""
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
        "capitalised",
    ):
        made.filters[name] = getattr(wording, name)
    made.globals["split_titles"] = SPLITS
    made.globals["longest_note"] = LONGEST_NOTE
    made.globals["most_passages"] = told_by_notes.MOST
    return made


def render(name: str, content: Mapping[str, Any]) -> str:
    """Fill a template with ``content``."""
    return environment().get_template(name).render(content)


def whole(content: Mapping[str, Any]) -> str:
    """The whole page as HTML."""
    style, script = ((FOLDER / name).read_text("utf-8") for name in ("style.css", "explorer.js"))
    inline = {"style": Markup(style), "script": Markup(script), "policy": policy(style, script)}
    return render("report.html.j2", {**content, **inline})


def policy(style: str, script: str) -> str:
    """The Content-Security-Policy: nothing is loaded or sent, and only this style and this script take effect."""
    return (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
