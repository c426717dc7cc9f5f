"""Checks a built site: every link and picture leads to a file and a heading of it, and nothing is fetched from elsewhere."""

import sys
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
NOT_FETCHED = (
    "canonical",
    "prev",
    "next",
    "alternate",
    "edit",
)  # relations of <link> that a browser does not follow by itself


class Page(HTMLParser):
    """The links of a page, what a browser fetches for it, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links, self.fetched, self.anchors = list[str](), list[str](), set[str]()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the element points at."""
        found = {name: value or "" for name, value in attrs}
        self.anchors |= {found[name] for name in ("id", "name") if found.get(name)}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        elif found.get(FETCHED.get(tag, "")) and not (tag == "link" and found.get("rel") in NOT_FETCHED):
            self.fetched.append(found[FETCHED[tag]])


def problems(site: Path) -> tuple[Counter[str], list[str]]:
    """How many pages, links, pictures and files there are, and what does not hold, a line each."""
    pages = {path.resolve(): Page(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}
    counts, wrong = Counter(pages=len(pages)), list[str]()
    for path, page in pages.items():
        if path.name == "404.html":  # its links are from the root of wherever the site lies
            continue
        where = path.relative_to(site.resolve())
        outside = [
            address
            for address in page.fetched
            if urlsplit(address).scheme not in ("", "data") or address.startswith("//")
        ]
        wrong += [f"{where}: fetches {address} when it is read; keep a copy in website/" for address in outside]
        counts.update(fetched=len(page.fetched), links=len(page.links))
        inside = [
            link for link in (*page.links, *page.fetched) if not urlsplit(link).scheme and not link.startswith("//")
        ]
        wrong += [f"{where}: {problem}" for problem in broken(path, inside, pages)]
        counts.update(inside=len(inside))
    return counts, wrong


def broken(path: Path, links: list[str], pages: dict[Path, Page]) -> Iterator[str]:
    """What does not hold of the links of the page at ``path``."""
    for link in links:
        parts = urlsplit(link)
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if target.is_dir():
            target /= "index.html"
        anchor = unquote(parts.fragment)
        if not target.is_file():
            yield f"the link '{link}' leads to no file"
        elif anchor and target in pages and anchor not in pages[target].anchors:
            yield f"the link '{link}' leads to no heading of its page"


def main(site: Path) -> int:
    """Print what was checked, and what does not hold. Returns the exit status."""
    counts, wrong = problems(site)
    for line in wrong:
        print(line, file=sys.stderr)
    total = counts["links"] + counts["fetched"]
    checked = f"{counts['inside']} of {total} links and files are the site's own and were checked"
    print(f"{site}: {counts['pages']} pages; {checked}; {len(wrong)} do not hold")
    return 1 if wrong or counts["pages"] < 2 else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
