"""What a corruption is, what is expected of it, and the check of both."""

import csv
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from emerge_ehr.cli import WITH_RUNS, main
from tests.faults.damage import ARCHIVES, FILES, LINES

RUN = "mimic4.toml"
CACHES = "data/cache/"
REPORT = "processed/audit.json"  # that of a failed audit, which is refused too
TEMPORARY = (".incoming", ".publishing", ".part", ".spill", "/incoming")
# What a line says that tells what to do, or what was expected.
REMEDY = re.compile(
    r"\b(run|set|mend|get|check|delete|move|choose|rename|remove|give|lower|should|put|train|bring|needs?|needed|see|must"
    r"|expected|known keys|did you mean|there are|is not (a|one of)|is outside|it has)\b"
)


@dataclass(frozen=True)
class Expected:
    """What a corruption comes to, as ``expected.csv`` declares it; ``told`` is always a piece of text.

    ``refused``: exit code 2 and one line, which holds ``told`` and the name of the input (or ``named``). ``same``: exit
    code 0, and the artefacts of the undamaged input, but for the records of inputs. ``told``: exit code 0, and ``told`` is
    logged, printed or recorded. ``unnoticed``: a limit that is known; ``told`` says why.
    """

    outcome: str
    told: str
    named: str


@dataclass(frozen=True)
class Corruption:
    """``damage`` of the file ``input`` (its path below the working folder), before ``stage`` runs by ``config``."""

    input: str
    kind: str
    damage: Callable[[Path], object]
    stage: str
    config: str = RUN
    options: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.stage}: {self.input}: {self.kind}"

    @property
    def expected(self) -> Expected:
        return EXPECTED[self.name]


def _declared() -> dict[str, Expected]:
    with Path(__file__).with_name("expected.csv").open(encoding="utf-8", newline="") as file:
        return {row.pop("corruption"): Expected(**row) for row in csv.DictReader(file)}


EXPECTED = _declared()


def everything(folder: Path) -> dict[str, bytes]:
    """The bytes of every file below ``folder``, or what else stands there; caches left out."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name.startswith(CACHES):
            continue
        if path.is_symlink():
            found[name] = f"link to {path.readlink()}".encode()
        elif path.is_file():
            found[name] = path.read_bytes() if path.stat().st_mode & 0o400 else b"unreadable"
    return found


def judge(
    corruption: Corruption,
    work: Path,
    clean: dict[str, bytes],
    run: Callable[[list[str]], tuple[int, str, str]],
) -> None:
    """Damage, run, compare. ``clean``: what stood in ``work`` before. ``run``: exit code, stderr, and all else that was told."""
    corruption.damage(work / corruption.input)
    before = everything(work)
    config = [] if corruption.stage in WITH_RUNS else ["--config", corruption.config]
    code, errors, told = run([*config, "--stage", corruption.stage, *corruption.options])
    after = everything(work)
    shown = f"exit code {code}\n{errors}\n{told}"
    assert not (work / "executed").exists(), "a pickle was read"
    assert "Traceback" not in errors + told, shown
    assert not [name for name in after if any(mark in name for mark in TEMPORARY) and name not in before], sorted(after)
    expected = corruption.expected
    if expected.outcome == "refused":
        _judge_refused(corruption, code, errors, shown)
        changed = [name for name in differing(before, after) if name != REPORT]
        assert not changed, changed
        return
    assert code == 0, shown
    if expected.outcome == "told":
        records = [name for name in after if name.endswith((".json", ".csv")) and after[name] != before.get(name)]
        said = shown + "".join(after[name].decode("utf-8", "replace") for name in records)
        assert expected.told and expected.told in said, f"{expected.told}\n{shown}"
    elif expected.outcome == "same":
        damaged = differing(clean, before)
        ours, theirs = (
            {name: text for name, text in one.items() if name not in damaged and not _records_inputs(name)}
            for one in (after, clean)
        )
        assert ours == theirs, differing(theirs, ours)
    else:
        assert expected.outcome == "unnoticed" and expected.told, expected


def _judge_refused(corruption: Corruption, code: int, errors: str, shown: str) -> None:
    expected, lines = corruption.expected, [line for line in errors.splitlines() if line.startswith("error: ")]
    assert code == 2, shown
    assert len(lines) == 1 and errors.strip().splitlines()[-1] == lines[0].strip(), shown
    assert expected.told and expected.told in lines[0], f"{expected.told}\n{shown}"
    assert (expected.named or Path(corruption.input).name) in lines[0], shown
    assert REMEDY.search(lines[0]), f"what to do is not said:\n{shown}"
    assert lines[0].isprintable(), shown


def _records_inputs(name: str) -> bool:
    return Path(name).name in ("provenance.json", "metadata.json", "manifest.json", "generated.json", "audit.json")


def differing(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def sampled(corruptions: list[Corruption]) -> set[str]:
    """Names of some, in which every input of every stage occurs, and every general kind of damage."""
    inputs: dict[tuple[str, str], list[Corruption]] = {}
    for one in corruptions:
        inputs.setdefault((one.stage, one.input), []).append(one)
    wanted = {**LINES, **FILES, **ARCHIVES}.keys()
    seen: set[str] = set()
    chosen = set()
    for same in inputs.values():
        pick = next((one for one in same if one.kind in wanted - seen), None)
        pick = pick or next((one for one in same if one.kind not in seen), same[0])
        seen.add(pick.kind)
        chosen.add(pick.name)
    return chosen | {next(one.name for one in corruptions if one.kind == kind) for kind in sorted(wanted - seen)}


def parameters(corruptions: list[Corruption]) -> list[object]:
    """For ``parametrize``: all but the sampled ones are marked ``full``."""
    some = sampled(corruptions)
    names = [one.name for one in corruptions]
    assert len(set(names)) == len(names), [name for name in names if names.count(name) > 1]
    return [pytest.param(one, id=one.name, marks=[] if one.name in some else [pytest.mark.full]) for one in corruptions]


def execute(
    argv: list[str], capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> tuple[int, str, str]:
    """``main`` in this process: exit code, stderr, and what was printed and logged."""
    caplog.clear()
    try:
        code = main(argv)
    except SystemExit as end:  # argparse
        code = int(end.code or 0)
    printed = capsys.readouterr()
    return code, printed.err, printed.out + caplog.text
