"""Has ACES extract the labels of a MEDS dataset by a task definition: ``aces-cli``, as a program of its own."""

import logging
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import final

from emerge_ehr.datasets.predictions import LabelFiles, PredictionTimes
from emerge_ehr.fields import UserError

log = logging.getLogger(__name__)
PROGRAM = "aces-cli"  # a config of somebody else's can run no other
VERSION = "0.7.3"  # of es-aces, with which this was tried
ERROR = re.compile(r"[\w.]+(?:Error|Exception): ")  # the last line of a traceback
LONGEST = 400  # characters of what it said
FORM = "the YAML of an ACES task has the keys predicates, trigger and windows"
UNLIKE_TASK = re.compile(r"AttributeError|TypeError|KeyError: '\w+'$")  # what aces-cli meets in a YAML of another form
INSTALL = f"python -m venv aces && aces/bin/pip install es-aces=={VERSION}"


@final
@dataclass(frozen=True)
class Extraction:
    """The prediction times of the dataset in ``raw_dir`` by the ACES task ``definition``; extracted when first asked for."""

    raw_dir: Path
    definition: Path
    predicates: Path | None
    command: Path
    code: str

    def files(self) -> list[Path]:
        """The definition, and the predicates of the dataset if they are in another file."""
        paths = [path for path in (self.definition, self.predicates) if path is not None]
        for path in paths:
            if not path.is_file():
                raise UserError(f"{path}: no such file; it should be the YAML of an ACES task, or its predicates")
        if (
            self.definition.is_file()
            and not re.sub(rb"(?m)^\s*(?:#.*|---)?$", b"", self.definition.read_bytes()).strip()
        ):
            raise UserError(f"{self.definition}: is empty; {FORM}")
        return paths

    def read(self) -> PredictionTimes:
        """The prediction times.

        Raises:
            UserError: the command is another program, aces-cli is missing, or it ends with an error.
        """
        return self._read

    @cached_property
    def _read(self) -> PredictionTimes:
        self.files()
        data = self.raw_dir / "data"
        shards = sorted(path.relative_to(data).with_suffix("").as_posix() for path in data.rglob("*.parquet"))
        if not shards:
            raise UserError(f"{data}: has no .parquet; paths.raw_dir must be the root of a MEDS dataset")
        with tempfile.TemporaryDirectory() as folder:
            log.info("aces: %s on %d shards of %s", self.definition, len(shards), data)
            self._run(data, shards, Path(folder))
            labels = Path(folder) / "labels"
            return LabelFiles(labels, self.code, f"{self.definition}: the labels", str(self.definition)).read()

    def _run(self, data: Path, shards: list[str], folder: Path) -> None:
        if self.command.stem != PROGRAM:
            raise UserError(f"[task] command = '{self.command}': must be {PROGRAM}, or a path that ends with it")
        program = shutil.which(self.command)
        if program is None:
            raise UserError(
                f"[task] command = '{self.command}': no such program; es-aces needs an environment of its own ({INSTALL}; then "
                "command = 'aces/bin/aces-cli'), or give the labels that it wrote elsewhere as [task] labels"
            )
        predicates = [] if self.predicates is None else [_set("predicates_path", str(self.predicates.resolve()))]
        settings = [
            "data=sharded",
            "data.standard=meds",
            _set("data.root", str(data.resolve())),
            f"data.shard={','.join(map(_quoted, shards))}",
            "cohort_name=task",
            _set("cohort_dir", str(folder)),
            _set("config_path", str(self.definition.resolve())),
            *predicates,
            _set("output_filepath", f"{folder}/labels${{data._prefix}}.parquet"),
            _set("log_dir", f"{folder}/logs"),
        ]
        done = subprocess.run(
            [program, "--multirun", *settings], cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise UserError(
                f"{self.definition}: aces-cli ended with status {done.returncode} and said: {_said(done.stderr)}"
            )


def _said(errors: str) -> str:
    """The error at the end of a traceback, in one line, with what follows it: where a YAML cannot be read stands there.

    >>> _said("Traceback:\\n  File x\\na.ScannerError: odd token\\n  in line 4\\nSet HYDRA_FULL_ERROR=1"), _said("")
    ('a.ScannerError: odd token in line 4', 'nothing')
    """
    lines = [line for line in errors.splitlines() if line.strip() and "HYDRA_FULL_ERROR" not in line]
    begin = next((n for n in reversed(range(len(lines))) if ERROR.match(lines[n])), len(lines) - 1)
    said = " ".join(" ".join(lines[max(begin, 0) :]).split())[:LONGEST] or "nothing"
    return f"{said}; {FORM}" if UNLIKE_TASK.match(said) else said


def _set(key: str, value: str) -> str:
    return f"{key}={_quoted(value)}"


def _quoted(text: str) -> str:
    """A text that Hydra takes as it is, whatever is in it, but for ``${...}``.

    >>> _quoted("train/0"), _quoted('a "b",c')
    ('"train/0"', '"a \\\\"b\\\\",c"')
    """
    escaped = text.replace('"', '\\"')
    return f'"{escaped}"'
