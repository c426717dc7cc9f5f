"""The status of mentions: how often our rules and their peers read it as it is known to be. Prints rows of tables."""

import csv
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from emerge_ehr.rag.entities import OF_THE_PATIENT, rules
from emerge_ehr.rag.mentions.context import statuses

CASES = Path(__file__).parents[1] / "status_cases.csv"
HALVES = ("tuning", "held_out")
OLDER = 204  # rows: written before the rules for lines, forms, reach and sections, and so not to show what these read
STATUSES = ("family", "historical", "hypothetical", "negated", "present")
NOT_FOUND = "not found"
HEADINGS = ("mentions", "way", "right", *STATUSES, "linked or not", "negated: precision, recall, F1")


@dataclass(frozen=True)
class Case:
    """A mention whose status is known: ``text[start:end]``."""

    text: str
    start: int
    end: int
    status: str


Way = Callable[[Sequence[Case]], list[str]]  # the status that is read for each case


def own_cases(half: str, first: int | None = None) -> list[Case]:
    """The cases of one half of ``status_cases.csv``, or of its ``first`` rows."""
    with CASES.open(encoding="utf-8", newline="") as file:
        rows = [row for row in list(csv.DictReader(file))[:first] if row["half"] == half]
    starts = [row["text"].index(row["mention"]) for row in rows]
    return [Case(r["text"], at, at + len(r["mention"]), r["status"]) for r, at in zip(rows, starts, strict=True)]


def sets() -> dict[str, list[Case]]:
    """The cases of both halves, of each the older ones too."""
    return {
        f"{half.replace('_', ' ')}{heading}": own_cases(half, first)
        for half in HALVES
        for heading, first in (("", None), (", the older ones", OLDER))
    }


def negex_cases(path: Path) -> tuple[list[Case], int]:
    """The cases of the test set of NegEx, and how many were left out since the condition is not in the sentence.

    Each is negated or present: the set says more of time and person than that, but by other definitions than ours.
    """
    cases, left_out = [], 0
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        for row in list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]:
            condition, text = row[1].strip(), row[2]
            at = text.lower().find(condition.lower())
            if at < 0 or not condition:
                left_out += 1
            else:
                status = "negated" if row[3].strip().lower() == "negated" else "present"
                cases.append(Case(text, at, at + len(condition), status))
    return cases, left_out


def finding(extractor: rules.Rules) -> Way:
    """The rules as they are used: they have to find the mention too."""

    def read(cases: Sequence[Case]) -> list[str]:
        found = []
        for case, extraction in zip(cases, extractor.extract([case.text for case in cases]), strict=True):
            overlapping = [e.status for e in extraction.entities if e.start < case.end and case.start < e.end]
            found.append(str(overlapping[0]) if overlapping else NOT_FOUND)
        return found

    return read


def given(cases: Sequence[Case]) -> list[str]:
    """The rules for the status alone, which are told the mention as the peers are."""
    return [statuses(case.text, [(case.start, case.end)])[0] for case in cases]


def all_present(cases: Sequence[Case]) -> list[str]:
    """What finding names without reading their context amounts to."""
    return ["present"] * len(cases)


def ask_peer(python: Path, script: Path, cases: Sequence[Case]) -> tuple[str, list[str]]:
    """The name of a peer, and its answers: ``script`` runs in the peer's own ``python``."""
    lines = [json.dumps({"text": case.text, "start": case.start, "end": case.end}) for case in cases]
    command = [str(python), str(script)]
    done = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{script} in {python} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    first, *answers = map(json.loads, done.stdout.splitlines())
    if len(answers) != len(cases):
        sys.exit(f"{script} gave {len(answers)} answers for {len(cases)} mentions")
    return first["name"], [answer["status"] for answer in answers]


def row(name: str, way: str, cases: Sequence[Case], answers: Sequence[str]) -> str:
    """A row of the table. Where only negated and present are known or read, the cells about the other statuses stay empty."""
    pairs = [(case.status, answer) for case, answer in zip(cases, answers, strict=True)]
    hits = sum(known == answer for known, answer in pairs)
    linked = sum((known in OF_THE_PATIENT) == (answer in OF_THE_PATIENT) for known, answer in pairs)
    cells = [f"{hits} of {len(pairs)}"]
    for status in STATUSES:
        own = [answer for known, answer in pairs if known == status]
        cells.append(f"{sum(answer == status for answer in own)}/{len(own)}" if own else "")
    cells.append(f"{linked / len(pairs):.3f}")
    if any({"negated", "present"}.issuperset(side) for side in zip(*pairs, strict=True)):
        cells = ["", "", "", "", cells[4], "", ""]
    return f"| {' | '.join([name, way, *cells, negation(pairs)])} |"


def negation(pairs: Sequence[tuple[str, str]]) -> str:
    """Precision, recall and F1 of "negated" against all other statuses."""
    right = sum(known == answer == "negated" for known, answer in pairs)
    said, meant = (sum(pair[n] == "negated" for pair in pairs) for n in (1, 0))
    precision, recall = right / max(said, 1), right / max(meant, 1)
    return f"{precision:.3f}, {recall:.3f}, {2 * precision * recall / max(precision + recall, 1e-9):.3f}"


def rows(
    cases_of: Mapping[str, Sequence[Case]], ways: Mapping[str, Way], peers: Sequence[Sequence[Path]]
) -> Iterator[str]:
    """A row per set of cases and way, the peers last."""
    for name, cases in cases_of.items():
        for way, read in ways.items():
            yield row(name, way, cases, read(cases))
        for python, script in peers:
            peer, answers = ask_peer(python, script, cases)
            yield row(name, peer, cases, answers)


def failures(cases: Sequence[Case], read: Way) -> Iterator[str]:
    """The cases that are read wrongly."""
    for case, answer in zip(cases, read(cases), strict=True):
        if answer != case.status:
            yield f"    {case.status} read as {answer}: {case.text[case.start : case.end]!r} in {case.text!r}"
