"""The code blocks of the documents, and a reader who does what a page says: writes its files, runs its commands and its Python.

A block that is not run has a comment before it, with the reason: ``<!-- not run: it downloads 1 GB -->``. A block ``text`` after
one that is run is what that prints: its lines in this order, with others between them where a line is ``...``.
"""

import contextlib
import io
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests import in_process

FENCE = re.compile(r"(?P<ticks>```+)(?P<language>\w*)(?: title=\"(?P<title>[^\"]+)\")?\s*$")
REASON = re.compile(r"<!-- not run: (.+) -->$")
PROGRAM = re.compile(r"(?:python src/main\.py|emerge-ehr) ")


@dataclass(frozen=True)
class Block:
    """A block of a page: ``language`` is empty where it is indented or does not say; ``reason`` why it is not run."""

    page: Path
    line: int
    language: str
    text: str
    title: str = ""
    reason: str = ""

    @property
    def where(self) -> str:
        """Page and line, for messages."""
        return f"{self.page.name} line {self.line}"

    @property
    def commands(self) -> list[str]:
        """The commands, a line each, without comments and with continued lines joined."""
        joined = re.sub(r"\\\n\s*", "", self.text)
        return [
            line.split(" #")[0].strip() for line in joined.splitlines() if line.strip() and not line.startswith("#")
        ]


def blocks(page: Path) -> list[Block]:
    """Every fenced block, and every indented one that follows an empty line outside of a list."""
    found, lines, reason, number = list[Block](), page.read_text("utf-8").splitlines(), "", 0
    while number < len(lines):
        line = lines[number]
        start = number
        if comment := REASON.match(line):
            reason = comment[1]
        elif fence := FENCE.match(line):
            number = lines.index(fence["ticks"], number + 1)
            text = "\n".join(lines[start + 1 : number]) + "\n"
            found.append(Block(page, start + 1, fence["language"], text, fence["title"] or "", reason))
            reason = ""
        elif line.startswith("    ") and (
            start == 0 or not lines[start - 1].strip() or lines[start - 1].startswith("#")
        ):
            while number < len(lines) and (lines[number].startswith("    ") or not lines[number].strip()):
                number += 1
            text = "\n".join(one[4:] for one in lines[start:number]).strip("\n") + "\n"
            found.append(Block(page, start + 1, "", text, "", reason))
            number, reason = number - 1, ""
        elif line.strip():
            reason = ""
        number += 1
    return found


def follow(page: Path, folder: Path) -> list[str]:
    """Do what the page says, in this folder; returns what each block that was run printed.

    Raises:
        AssertionError: a command fails that the page does not show to fail, or prints other than the page shows.
    """
    printed, known, todo = list[str](), dict[str, object](), blocks(page)
    with contextlib.chdir(folder):
        for number, block in enumerate(todo):
            shown = todo[number + 1].text if [one.language for one in todo[number + 1 : number + 2]] == ["text"] else ""
            if block.reason or block.language == "text":
                continue
            if block.title:
                path = folder / block.title
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(block.text, "utf-8")
                continue
            assert block.language in ("python", "bash"), (
                f"{block.where}: nobody runs '{block.language}'; name its file, or why not"
            )
            said = (
                python(block, known)
                if block.language == "python"
                else bash(block, folder, fails=shown.startswith("error:"))
            )
            assert_printed(said, shown, block.where)
            printed.append(said)
    return printed


def python(block: Block, known: dict[str, object]) -> str:
    """Run Python with the names that earlier blocks of the page gave."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(block.text, block.where, "exec"), known)
    return printed.getvalue()


def bash(block: Block, folder: Path, *, fails: bool) -> str:
    """Run commands of ours in this process; there are no others that a page may ask a test to run."""
    said = ""
    for command in block.commands:
        assert PROGRAM.match(command), (
            f"{block.where}: a test does not run '{command}'; say why, in a comment before the block"
        )
        done = in_process.run(folder, *shlex.split(PROGRAM.sub("", command)))
        assert done.returncode == (2 if fails else 0), f"{block.where}: {command}: {done.stderr[-2000:]}"
        said += done.stdout + done.stderr
    return said


def assert_printed(said: str, shown: str, where: str) -> None:
    """Every line that the page shows was printed, in this order; ``...`` stands for anything, and alone for any lines."""
    lines = iter(said.splitlines())
    for line in shown.splitlines():
        if line.strip() != "...":
            pattern = ".*".join(re.escape(part.strip(" ")) for part in line.split("..."))
            assert any(re.fullmatch(rf"\s*{pattern}\s*", one) for one in lines), (
                f"{where}: not printed: {line}\n{said[-3000:]}"
            )


@contextlib.contextmanager
def importable(folder: Path) -> Iterator[None]:
    """The packages in this folder can be imported, as if they were installed; afterwards they are forgotten."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]
