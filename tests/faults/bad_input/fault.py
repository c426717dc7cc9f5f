"""What a fault is, what may come of it, and the check of both. README.md says how one is added."""

import re
import shutil
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from emerge_ehr.stages import WITH_RUNS
from tests.faults.bad_input.damage import Damage

RUN = "mimic4.toml"
CACHES = "data/cache/"
REPORT = "processed/audit.json"  # that of a failed audit, which is refused too
RECORDS_OF_INPUTS = ("provenance.json", "metadata.json", "manifest.json", "generated.json", "audit.json")
TEMPORARY = (".incoming", ".publishing", ".part", ".spill", "/incoming")
# What a line says that tells what to do, or what was expected.
REMEDY = re.compile(
    r"\b(run|set|mend|get|check|delete|move|choose|rename|remove|give|lower|should|put|train|bring|needs?|needed|see|must"
    r"|expected|known keys|did you mean|there are|is not (a|one of)|is outside|it has)\b"
)


@dataclass(frozen=True)
class Outcome:
    """What must come of a fault; built by ``refused``, ``SAME``, ``handled`` and ``unnoticed``."""

    kind: Literal["refused", "same", "handled", "unnoticed"]
    text: str = ""
    names: str = ""


SAME = Outcome("same")  # exit code 0, and the artefacts of the undamaged input, but for the records of inputs
Cases = dict[str, tuple[Damage, Outcome]]  # kind of fault -> how it is made, what comes of it


def refused(text: str, names: str = "") -> Outcome:
    """Exit code 2, nothing changed, and one line with ``text``, a remedy, and the damaged file's name or ``names``."""
    return Outcome("refused", text, names)


def handled(text: str) -> Outcome:
    """Exit code 0, and ``text`` is logged, printed or recorded."""
    return Outcome("handled", text)


def unnoticed(why: str) -> Outcome:
    """Exit code 0 and not a word: a known limit, and the reason for it."""
    return Outcome("unnoticed", why)


@dataclass(frozen=True)
class Fault:
    """``damage`` of the file ``input`` (its path in the finished pipeline) before ``stage`` runs by ``config``."""

    stage: str
    input: str
    kind: str
    damage: Damage
    outcome: Outcome
    config: str = RUN
    options: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.stage}: {self.input}: {self.kind}"


def faults(
    stage: str,
    input: str,
    cases: Cases,
    differing: Mapping[str, Outcome] | None = None,
    config: str = RUN,
    options: tuple[str, ...] = (),
) -> list[Fault]:
    """A fault per case; ``differing``: what comes of those that end otherwise here than the case says."""
    differing = differing or {}
    assert differing.keys() <= cases.keys(), differing.keys() - cases.keys()
    return [
        Fault(stage, input, kind, damage, differing.get(kind, outcome), config, options)
        for kind, (damage, outcome) in cases.items()
    ]


def some(cases: Cases, *kinds: str) -> Cases:
    return {kind: cases[kind] for kind in kinds}


def ending(outcome: Outcome, cases: Cases) -> Cases:
    """The same faults, with one outcome for all."""
    return {kind: (damage, outcome) for kind, (damage, _) in cases.items()}


Mark = tuple[int, int, int]  # mode, and of all but a folder size and time of change


@dataclass(frozen=True)
class Clean:
    """The undamaged pipeline in ``folder``: the ``marks`` of what lies in it, by which a change is known, and the ``files``."""

    folder: Path
    marks: dict[str, Mark]
    files: dict[str, bytes]

    def everything(self, work: Path) -> dict[str, bytes]:
        """The bytes of every file in ``work``, a copy that may be damaged; what bears the mark of before is not read again."""
        marks = marks_below(work)
        return {
            name: self.files[name] if mark == self.marks.get(name) else _bytes(work / name)
            for name, mark in marks.items()
            if _is_compared(name, mark)
        }

    def mend(self, work: Path) -> None:
        """Make ``work`` a copy of the undamaged pipeline again. What is in a folder sorts after it."""
        marks = marks_below(work)
        for name in sorted((name for name in marks if marks[name] != self.marks.get(name)), reverse=True):
            (work / name).rmdir() if stat.S_ISDIR(marks[name][0]) else (work / name).unlink()
        for name in sorted(name for name in self.marks if marks.get(name) != self.marks[name]):
            if stat.S_ISDIR(self.marks[name][0]):
                (work / name).mkdir()
            else:
                shutil.copy2(self.folder / name, work / name, follow_symlinks=False)


def clean(folder: Path) -> Clean:
    """Read the pipeline that no fault has touched."""
    marks = marks_below(folder)
    return Clean(
        folder, marks, {name: _bytes(folder / name) for name, mark in marks.items() if _is_compared(name, mark)}
    )


def marks_below(folder: Path) -> dict[str, Mark]:
    marks = {}
    for path in folder.rglob("*"):
        known = path.lstat()
        is_folder = stat.S_ISDIR(known.st_mode)
        mark = (known.st_mode, 0 if is_folder else known.st_size, 0 if is_folder else known.st_mtime_ns)
        marks[path.relative_to(folder).as_posix()] = mark
    return marks


def _is_compared(name: str, mark: Mark) -> bool:
    """Folders and caches are not."""
    return not stat.S_ISDIR(mark[0]) and not name.startswith(CACHES)


def _bytes(path: Path) -> bytes:
    return f"link to {path.readlink()}".encode() if path.is_symlink() else path.read_bytes()


def judge(
    fault: Fault,
    work: Path,
    clean: Clean,
    run: Callable[[list[str]], tuple[int, str, str]],
) -> None:
    """Damage, run, compare. ``work`` is a copy of ``clean``. ``run``: exit code, stderr, and all other output."""
    fault.damage(work / fault.input)
    before = clean.everything(work)
    config = [] if fault.stage in WITH_RUNS else ["--config", fault.config]
    code, errors, output = run([*config, "--stage", fault.stage, *fault.options])
    after = clean.everything(work)
    shown = f"exit code {code}\n{errors}\n{output}"
    assert not (work / "executed").exists(), "a pickle was read"
    assert "Traceback" not in errors + output, shown
    assert not [name for name in after if any(mark in name for mark in TEMPORARY) and name not in before], sorted(after)
    outcome = fault.outcome
    if outcome.kind == "refused":
        _judge_refused(fault, code, errors, shown)
        changed = [name for name in differing_files(before, after) if name != REPORT]
        assert not changed, changed
        return
    assert code == 0, shown
    if outcome.kind == "handled":
        records = [name for name in after if name.endswith((".json", ".csv")) and after[name] != before.get(name)]
        everything_said = shown + "".join(after[name].decode("utf-8", "replace") for name in records)
        assert outcome.text and outcome.text in everything_said, f"{outcome.text}\n{shown}"
    elif outcome.kind == "same":
        damaged = differing_files(clean.files, before)
        ours, theirs = (
            {
                name: content
                for name, content in files.items()
                if name not in damaged and Path(name).name not in RECORDS_OF_INPUTS
            }
            for files in (after, clean.files)
        )
        assert ours == theirs, differing_files(theirs, ours)
    else:
        assert outcome.text, "an unnoticed fault needs its reason"


def _judge_refused(fault: Fault, code: int, errors: str, shown: str) -> None:
    outcome, lines = fault.outcome, [line for line in errors.splitlines() if line.startswith("error: ")]
    assert code == 2, shown
    assert len(lines) == 1 and errors.strip().splitlines()[-1] == lines[0].strip(), shown
    assert outcome.text and outcome.text in lines[0], f"{outcome.text}\n{shown}"
    assert (outcome.names or Path(fault.input).name) in lines[0], shown
    assert REMEDY.search(lines[0]), f"what to do is not said:\n{shown}"
    assert lines[0].isprintable(), shown


def differing_files(some_files: dict[str, bytes], others: dict[str, bytes]) -> list[str]:
    return sorted(name for name in some_files.keys() | others.keys() if some_files.get(name) != others.get(name))
