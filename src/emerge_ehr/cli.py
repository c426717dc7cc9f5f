"""The command line of EMERGE: the stages, and the module that runs each.

Only the standard library, and ``memory`` of ours, is imported here, so that ``--help`` answers at once; a stage's module is
imported when it runs.
"""

import argparse
import errno
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from emerge_ehr import memory

if TYPE_CHECKING:
    from emerge_ehr.config import Config

ABOUT = "EMERGE: predicts outcomes of intensive care from time series, clinical notes and a knowledge graph."

# ``--stage all`` runs these, in this order; each module has ``run(config)``.
PIPELINE = {
    "download": "emerge_ehr.datasets.download",
    "convert": "emerge_ehr.datasets.convert.run",
    "preprocess": "emerge_ehr.preprocess.run",
    "train": "emerge_ehr.training.train",
    "report": "emerge_ehr.report.report",
}
AFTER_TRAINING = (
    "emerge_ehr.export.after_training"  # follows ``train``: the run's model folder, where the config asks for it
)
# Not part of ``--stage all``; each module has ``run(config)``.
CHECKS = {"audit": "emerge_ehr.audit.audit"}
# Stages that work with finished runs. The module's ``run`` takes the options listed here; each must be given or have a
# default, except those that end in "?", which may be left out.
WITH_RUNS: dict[str, tuple[str, tuple[str, ...]]] = {
    "predict": ("emerge_ehr.prediction.predict", ("run", "tables", "output", "explain", "workers", "offline")),
    "evaluate": (
        "emerge_ehr.transfer.evaluate",
        ("run", "tables", "output", "recalibrate?", "recalibrate_by", "offline"),
    ),
    "serve": ("emerge_ehr.prediction.serve", ("run", "host", "port", "offline")),
    "export": ("emerge_ehr.export.export", ("run", "output", "with_patients")),
    "benchmark": ("emerge_ehr.comparison.benchmark", ("config", "dry_run", "offline")),
    "tune": ("emerge_ehr.tuning.tune", ("config", "offline")),
    "compare": ("emerge_ehr.comparison.compare", ("runs", "output?")),
}
# Stages of the pipeline that also work with a finished run, or a model, in place of a config; the module's function and the
# options it takes.
OF_A_RUN = {"report": ("emerge_ehr.report.report", "run_of", ("run",))}
# The options that the other stages take.
OF_PIPELINE = (
    "config",
    "seed",
    "seeds",
    "resume",
    "offline",
    "primekg_full",
    "primekg_lightweight",
    "dry_run",
    "deep",
    "check",
)


def parser() -> argparse.ArgumentParser:
    """Every option of the command line."""
    parser = argparse.ArgumentParser(prog=_program(), description=ABOUT)
    parser.add_argument("--config", type=Path, help="TOML file; configs/synthetic.toml needs no data")
    parser.add_argument(
        "--stage",
        choices=["all", *PIPELINE, *CHECKS, *WITH_RUNS],
        default="all",
        help=f"one stage, or all of {', '.join(PIPELINE)}",
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
    for name in _taken(options) if options.stage in WITH_RUNS or _of_a_run(options) else ("config",):
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


def _of_a_run(options: argparse.Namespace) -> bool:
    """Whether a stage of the pipeline is to work with a finished run."""
    return options.stage in OF_A_RUN and options.run is not None


def _taken(options: argparse.Namespace) -> tuple[str, ...]:
    """The options that the stage takes, marked as in ``WITH_RUNS``."""
    if _of_a_run(options):
        return OF_A_RUN[options.stage][2]
    return WITH_RUNS[options.stage][1] if options.stage in WITH_RUNS else OF_PIPELINE


def _refuse_untaken(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End the process with a message if an option was given that the stage would ignore."""
    taken = [name.removesuffix("?") for name in _taken(options)]
    for name, value in vars(options).items():
        if name not in ("stage", "verbose", *taken) and value != parser.get_default(name):
            flags = ", ".join(f"--{option.replace('_', '-')}" for option in taken)
            parser.error(f"--{name.replace('_', '-')} does not go with --stage {options.stage}, which takes {flags}")


def main(argv: list[str] | None = None) -> int:
    """Run what the command line asks for.

    Returns the exit status: 0 when done, 2 for a user's mistake or where memory or the disk is full, 130 when interrupted.
    """
    try:
        options = arguments(argv)
        if too_small := memory.small_limit(options.stage):
            return _told(too_small)
        status = run(options)
        sys.stdout.flush()  # here a full disk can still be told
    except BaseException as error:
        try:
            stopping = interrupted(error)
        except KeyboardInterrupt:  # Polars raises an interrupt of its own, and Python raises another at the next call
            stopping = True
        if stopping:
            print("interrupted", file=sys.stderr)
            return 130
        if lack := memory.lacking(error):
            return _told(
                f"not enough memory ({lack}); free some, raise the limit (ulimit -v), or take a smaller cohort, smaller "
                "batches or fewer workers"
            )
        if not isinstance(error, OSError) or error.filename is not None:
            raise
        return _told(f"an output without a name, such as the terminal or a pipe: {error.strerror or error}")
    return status


def _told(mistake: str) -> int:
    """Print the mistake as far as that is possible. Returns the exit status."""
    for stream, text in ((sys.stderr, f"error: {mistake}\n"), (sys.stdout, "")):
        try:
            stream.write(text)
            stream.flush()
        except OSError:  # what cannot be written is dropped, as Python would try once more when it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return 2


def interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C caused ``error``: a library's C code turns an interrupt during its import into an ImportError."""
    return error is not None and (
        isinstance(error, KeyboardInterrupt) or interrupted(error.__cause__ or error.__context__)
    )


def run(options: argparse.Namespace) -> int:
    """Run the stage that the options name. Returns the exit status: 0 when done, 2 for a user's mistake."""
    from emerge_ehr import torchrun
    from emerge_ehr.fields import UserError, message, printable

    first = torchrun.is_first()  # where several processes run, only the first logs and reports mistakes
    level = logging.ERROR if not first else logging.DEBUG if options.verbose else logging.INFO
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S")
    for library in ("httpx", "httpcore", "httpx2", "httpcore2"):  # they would log URLs and headers
        logging.getLogger(library).setLevel(logging.WARNING)
    try:
        if options.stage in WITH_RUNS:
            module, marked = WITH_RUNS[options.stage]
            names = [name.removesuffix("?") for name in marked]
            importlib.import_module(module).run(**{name: getattr(options, name) for name in names})
        elif _of_a_run(options):
            module, function, names_taken = OF_A_RUN[options.stage]
            getattr(importlib.import_module(module), function)(**{name: getattr(options, name) for name in names_taken})
        else:
            run_pipeline(options)
    except UserError as error:
        if first:
            print(f"error: {printable(message(error))}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno == errno.ENOMEM or error.filename is None:
            raise  # ``main`` tells it
        print(f"error: {printable(message(error))}", file=sys.stderr)
        return 2
    return 0


def run_pipeline(options: argparse.Namespace) -> None:
    """Run the stages of ``PIPELINE`` or ``CHECKS`` that the options name, after checking the config for all of them.

    Raises:
        UserError: as ``run_stages``, or the config file does not fit.
    """
    from emerge_ehr import torchrun
    from emerge_ehr.config import load

    torchrun.check()
    config = load(
        options.config,
        seed=options.seed,
        seeds=options.seeds,
        resume=options.resume,
        offline=options.offline,
        primekg="full" if options.primekg_full else "lightweight" if options.primekg_lightweight else None,
    )
    names = list(PIPELINE) if options.stage == "all" else [options.stage]
    function = "estimate" if options.dry_run else "run_deep" if options.deep else "check" if options.check else "run"
    run_stages(config, names, str(options.config), function)


def run_stages(config: "Config", names: Sequence[str], where: str, function: str = "run") -> None:
    """Run these stages of ``PIPELINE`` or ``CHECKS`` with the config, after checking it for all of them.

    ``where``: what messages call the config; ``function``: which function of each stage's module is called.

    Raises:
        UserError: the config, the environment or the command line does not fit a stage. It is raised before any stage begins.
    """
    from emerge_ehr import components, privacy, torchrun
    from emerge_ehr.compute import cluster
    from emerge_ehr.fields import UserError

    stages = [importlib.import_module((PIPELINE | CHECKS)[name]) for name in names]
    privacy.check(config, names)
    if "preprocess" in names:
        cluster.check(config, names)
    for stage in stages:
        components.check(config, stage.SOCKETS)
    if {"preprocess", "train"} & {*names}:
        from emerge_ehr.models import emerge

        emerge.check(config.model, config.token_level, where)
    if [*names] != ["train"] and torchrun.processes() > 1:
        raise UserError("several processes (torchrun) can share --stage train only; run the other stages first")
    for name, stage in zip(names, stages, strict=True):
        logging.getLogger(__name__).info("stage %s", name)
        with privacy.owner_only(config, name):
            getattr(stage, function)(config)
            if name == "train" and torchrun.is_first():
                importlib.import_module(AFTER_TRAINING).run(config)
