"""Reads the command line: which options there are, which stage takes which, and what a mistake in them is told as."""

import argparse
import sys
from pathlib import Path

from emerge_ehr import stages

ABOUT = "EMERGE: predicts outcomes of intensive care from time series, clinical notes and a knowledge graph."


def parser() -> argparse.ArgumentParser:
    """Every option of the command line."""
    parser = argparse.ArgumentParser(prog=_program(), description=ABOUT)
    parser.add_argument("--config", type=Path, help="TOML file; configs/synthetic.toml needs no data")
    parser.add_argument(
        "--stage",
        choices=["all", *stages.PIPELINE, *stages.CHECKS, *stages.WITH_RUNS],
        default="all",
        help=f"one stage, or all of {', '.join(stages.PIPELINE)}",
    )
    parser.add_argument("--seed", type=int, help="replaces the config's seed")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[], help="train once per seed, and report mean and standard deviation"
    )
    parser.add_argument("--resume", action="store_true", help="continue a training run that was stopped")
    parser.add_argument(
        "--offline", action="store_true", help="download nothing; use what is on disk and list what is missing"
    )
    graph = parser.add_mutually_exclusive_group()
    graph.add_argument("--primekg-full", action="store_true", help="download every file of PrimeKG")
    graph.add_argument(
        "--primekg-lightweight", action="store_true", help="download PrimeKG without kg.csv (smoke tests)"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="do nothing but print: with --stage preprocess, what requests to a language model would cost; with --stage "
        "benchmark, the runs",
    )
    parser.add_argument(
        "--deep", action="store_true", help="with --stage audit: also look for mistakes that take minutes to find"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="with --stage convert: write nothing; print which files, signals and notes the source has, and what it lacks",
    )
    runs = parser.add_argument_group("finished runs")
    runs.add_argument(
        "--run", type=Path, metavar="FOLDER", help="with predict, evaluate, serve, export and report: a finished run"
    )
    runs.add_argument(
        "--tables",
        type=Path,
        metavar="FOLDER",
        help="the folder of new patients' tables; with evaluate, with their outcomes",
    )
    runs.add_argument(
        "--runs", type=Path, nargs="+", metavar="FOLDER", help="with compare: two run folders, on the same data"
    )
    runs.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="the CSV to write; predict needs it, compare can do without; with evaluate: the folder to write",
    )
    runs.add_argument(
        "--explain",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="with predict: also what each input and disease adds to a risk, which takes most of the time",
    )
    runs.add_argument(
        "--risks-only",
        action="store_true",
        help="with predict: write the risks alone, without the evidence they rest on, which is not audited then either",
    )
    runs.add_argument(
        "--workers",
        type=int,
        default=0,
        metavar="N",
        help="with predict: the number of processes; by default one per core, up to 8, where there are many patients",
    )
    runs.add_argument(
        "--with-patients",
        action="store_true",
        help="with export: the folder may hold what a method, or a what-if, keeps of single training patients",
    )
    runs.add_argument(
        "--recalibrate",
        type=int,
        metavar="N",
        help="with evaluate: recalibrate on so many persons, and evaluate on the others before and after",
    )
    runs.add_argument(
        "--recalibrate-by",
        choices=["logistic", "intercept", "closed_test", "isotonic", "venn_abers"],
        default="closed_test",
        help="with --recalibrate: slope and intercept, the intercept alone, the simplest that a closed test allows (default), "
        "isotonic regression, or a Venn-Abers predictor",
    )
    runs.add_argument("--host", default="127.0.0.1", help="with serve: the address to listen on")
    runs.add_argument("--port", type=int, default=8000, help="with serve: the port to listen on; 0 takes any free one")
    parser.add_argument("--verbose", action="store_true", help="more log lines")
    return parser


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line; a mistake in it ends the process with a message and status 2."""
    known = parser()
    options = known.parse_args(argv)
    for name in _taken(options) if options.stage in stages.WITH_RUNS or of_a_run(options) else ("config",):
        if not name.endswith("?") and getattr(options, name) is None:
            known.error(f"--stage {options.stage} needs --{name}")
    if options.dry_run and options.stage not in ("preprocess", "benchmark"):
        known.error("--dry-run only works with --stage preprocess and --stage benchmark")
    if options.deep and options.stage != "audit":
        known.error("--deep only works with --stage audit")
    if options.check and options.stage != "convert":
        known.error("--check only works with --stage convert")
    if options.workers < 0:
        known.error("--workers must be 0 (as many as there are cores) or more")
    if options.recalibrate is None and options.recalibrate_by != known.get_default("recalibrate_by"):
        known.error("--recalibrate-by needs --recalibrate N")
    _refuse_untaken(known, options)
    return options


def _program() -> str:
    """Return the command as the user typed it: ``emerge-ehr``, or ``python src/main.py``."""
    typed = Path(sys.argv[0]).name
    return "python src/main.py" if typed.endswith(".py") else typed


def of_a_run(options: argparse.Namespace) -> bool:
    """Whether a stage of the pipeline is to work with a finished run."""
    return options.stage in stages.OF_A_RUN and options.run is not None


def _taken(options: argparse.Namespace) -> tuple[str, ...]:
    """The options that the stage takes, marked as in ``WITH_RUNS``."""
    if of_a_run(options):
        return stages.OF_A_RUN[options.stage][2]
    return stages.WITH_RUNS[options.stage][1] if options.stage in stages.WITH_RUNS else stages.OF_PIPELINE


def _refuse_untaken(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End the process with a message if an option was given that the stage would ignore."""
    taken = [name.removesuffix("?") for name in _taken(options)]
    for name, value in vars(options).items():
        if name not in ("stage", "verbose", *taken) and value != parser.get_default(name):
            flags = ", ".join(f"--{option.replace('_', '-')}" for option in taken)
            parser.error(f"--{name.replace('_', '-')} does not go with --stage {options.stage}, which takes {flags}")
