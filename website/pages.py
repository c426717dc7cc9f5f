"""The pages of the site: what lies in docs/ and at the root, with links that hold there, and what is written from the code.

A link to a document leads to its page. A link to any other file of the checkout (a config, a table, a test) leads to a page that
shows the file, which is made because something links to it.
"""

import json
import posixpath
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from emerge_ehr.fields import UserError
from website.reference import commands, files, interface, plugs, settings

ROOT = Path(__file__).resolve().parents[1]
CONFIG = Path(__file__).with_name("zensical.toml")
# Documents outside docs/ -> their pages
MOVED = {
    "README.md": "how_to/index.md",
    "ARCHITECTURE.md": "project/architecture.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "docs/tutorial.ipynb": "tutorials/notebook.md",
}
WRITTEN: dict[str, Callable[[], str]] = {
    "reference/settings.md": settings.page,
    "reference/plugs.md": plugs.page,
    "reference/files.md": files.page,
    "reference/commands.md": commands.page,
    "reference/interface.md": interface.page,
}
PICTURES = (".png", ".svg")
LINK = re.compile(r"((?:\[[\w/.]+\.(?:md|ipynb))?\]\()(?!https?:|mailto:|#)([^)#\s]*)((?:#[^)\s]*)?\))")
ITEM = re.compile(r"\s*([-*]|\d+\.) ")


@dataclass
class Site:
    """Page -> its Markdown; ``pictures`` are copied as they are; ``wanted`` are files of the checkout that a page links to."""

    pages: dict[str, str] = field(default_factory=dict)
    pictures: set[str] = field(default_factory=set)
    wanted: list[str] = field(default_factory=list)


def collect(root: Path = ROOT) -> Site:
    """All pages of the site, by the path they get below its folder of pages."""
    site = Site({page: write() for page, write in WRITTEN.items()})
    for path in sorted((root / "docs").rglob("*.md")):
        source = path.relative_to(root).as_posix()
        site.pages[page_of(source)] = adapted(path.read_text("utf-8"), source, site, root)
    for source in MOVED:
        text = (root / source).read_text("utf-8")
        text = notebook(text) if source.endswith(".ipynb") else how_to(text) if source == "README.md" else text
        site.pages[page_of(source)] = adapted(text, source, site, root)
    for source in site.wanted:  # which grows while folders are listed
        site.pages[page_of(source)] = shown(source, site, root)
    return site


def page_of(source: str) -> str:
    """The page of a file or folder of the checkout.

    >>> page_of("docs/audit.md"), page_of("configs/omop.toml")
    ('audit.md', 'files/configs/omop.toml.md')
    """
    if source in MOVED:
        return MOVED[source]
    if source.endswith(".md"):
        return source.removeprefix("docs/") if source.startswith("docs/") else f"files/{source}"
    return f"files/{source}.md"


def adapted(text: str, source: str, site: Site, root: Path) -> str:
    """The document with links that hold on its page, and with the blank lines that the site's Markdown needs around lists."""

    def linked(match: re.Match[str]) -> str:
        target = resolved(source, match[2])
        if target.removeprefix("docs/") in WRITTEN:
            page = target.removeprefix("docs/")
        elif target.endswith(PICTURES):
            page = target.removeprefix("docs/")
            site.pictures.add(page)
        else:
            page = page_of(target)
            if page.startswith("files/") and target not in site.wanted and (root / target).exists():
                site.wanted.append(target)
        name = f"[{title(root / target)}](" if match[1] != "](" else match[1]
        return name + posixpath.relpath(page, posixpath.dirname(page_of(source))) + match[3]

    lines, fenced, item, parted = list[str](), False, 0, False  # parted: an empty line stands within the item
    for line in text.splitlines():
        fenced ^= line.lstrip().startswith("```")
        before = lines[-1] if lines else ""
        begins = bool(re.match(r"([-*]|\d+\.) ", line))
        if not fenced and (needs_blank(before, line) or (begins and parted and before.strip())):
            lines.append("")
        item, parted = width_of_item(line, item), bool(item) and not begins and (parted or not line.strip())
        indented = line.startswith(" " * item) and line.strip() and item
        lines.append((" " * (4 - item) if indented else "") + (line if fenced else LINK.sub(linked, line)))
    return "\n".join(lines) + "\n"


def width_of_item(line: str, item: int) -> int:
    """By how much the lines are indented that belong to the list's item: the site's Markdown wants 4, whatever the bullet is.

    >>> width_of_item("1. One", 0), width_of_item("   more", 3), width_of_item("", 3), width_of_item("Words.", 3)
    (3, 3, 3, 0)
    """
    if begun := re.match(r"(?:[-*]|\d+\.) ", line):
        return len(begun[0])
    return item if not line.strip() or line.startswith(" ") else 0


def title(document: Path) -> str:
    """The first heading of a document, by which a link is named on the site that is named by a path elsewhere."""
    text = document.read_text("utf-8")
    heading = re.search(r"^# (.+)$", notebook(text) if document.suffix == ".ipynb" else text, re.MULTILINE)
    return heading[1] if heading else document.name


def needs_blank(before: str, line: str) -> bool:
    """Whether a list or table begins right below a paragraph, which GitHub takes for one and the site does not.

    >>> needs_blank("**Learned.**", "- A gap."), needs_blank("- One", "- another"), needs_blank("", "- A gap.")
    (True, False, False)
    """
    starts = bool(re.match(r"([-*]|\d+\.) ", line)) and not ITEM.match(before) and not before.startswith("  ")
    return bool(before.strip()) and (starts or (line.startswith("|") and not before.startswith("|")))


def notebook(text: str) -> str:
    """The cells of a notebook, one after the other."""
    parts = []
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
    return "\n\n".join(parts) + "\n"


def how_to(readme: str) -> str:
    """The README's tasks: other data and models, new patients, and every stage and option."""
    parts = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", readme, re.MULTILINE | re.DOTALL))
    stages, options = re.findall(r"(?:^\|.*\n)+", parts["Run it on MIMIC-IV"], re.MULTILINE)
    return (
        "# How to\n\nEach task has a command and a page of its own. "
        "Newcomers begin with the [tutorials](docs/tutorials/synthetic.md).\n\n"
        f"## Data, models, machines\n{parts['Your own data']}\n## New patients\n{parts['New patients']}\n"
        f"## Every stage\nEach is `emerge-ehr --stage NAME`, or `python src/main.py --stage NAME` in a checkout.\n\n{stages}\n"
        f"## Every option\n{options}\n## Install\n{parts['Install']}\n"
    )


def shown(source: str, site: Site, root: Path) -> str:
    """The page of a file, or the list of what a folder holds."""
    path = root / source
    if path.is_dir():
        listed = "\n".join(f"- [{one.name}]({path.name}/{one.name})" for one in sorted(path.iterdir()) if one.is_file())
        return adapted(f"# `{source}`\n\n{listed}\n", source, site, root)
    text = path.read_text("utf-8")
    if source.endswith(".md"):
        return adapted(text, source, site, root)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    kind = {".toml": "toml", ".py": "python", ".yaml": "yaml", ".csv": "text"}.get(path.suffix, "text")
    return f"# `{source}`\n\n{fence}{kind}\n{text}{fence}\n"


def write(folder: Path, root: Path = ROOT) -> Site:
    """Write the pages and the builder's config into ``folder``, whose former pages are removed.

    Raises:
        UserError: it is a folder of something else.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / CONFIG.name).is_file():
        raise UserError(f"{folder}: holds other files than a website's; name a new or empty folder")
    site = collect(root)
    shutil.rmtree(folder / "pages", ignore_errors=True)
    shutil.rmtree(folder / "site", ignore_errors=True)
    for page, text in site.pages.items():
        path = folder / "pages" / page
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    for picture in site.pictures:
        path = folder / "pages" / picture
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / "docs" / picture, path)
    shutil.copytree(CONFIG.with_name("style"), folder / "pages" / "style")
    shutil.copyfile(CONFIG, folder / CONFIG.name)
    return site


def navigation(entries: list[object]) -> list[str]:
    """The pages of the config's ``nav``, in order."""
    found = list[str]()
    for entry in entries:
        if isinstance(entry, str):
            found.append(entry)
        elif isinstance(entry, dict):
            found += [
                page for value in entry.values() for page in navigation(value if isinstance(value, list) else [value])
            ]
    return found


def links_of(text: str) -> list[re.Match[str]]:
    """The links of a page to other pages and pictures, outside of code."""
    found, fenced = list[re.Match[str]](), False
    for line in text.splitlines():
        fenced ^= line.lstrip().startswith("```")
        found += [] if fenced else LINK.finditer(line)
    return found


def resolved(page: str, link: str) -> str:
    """Where a link of a page leads.

    >>> resolved("tutorials/own_tables.md", "../audit.md")
    'audit.md'
    """
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), link))
