"""The program: reads the command line, runs the stage that it names, and tells mistakes.

Only the standard library, and modules of ours that import nothing else, are imported here, so that ``--help`` answers at once.
"""

import argparse
import errno
import importlib
import logging
import os
import sys

from emerge_ehr import command_line, memory, stages


def main(argv: list[str] | None = None) -> int:
    """Run what the command line asks for.

    Returns the exit status: 0 when done, 2 for a user's mistake or where memory or the disk is full, 130 when interrupted.
    """
    try:
        options = command_line.arguments(argv)
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
        if options.stage in stages.WITH_RUNS:
            module, marked = stages.WITH_RUNS[options.stage]
            names = [name.removesuffix("?") for name in marked]
            importlib.import_module(module).run(**{name: getattr(options, name) for name in names})
        elif command_line.of_a_run(options):
            module, function, names_taken = stages.OF_A_RUN[options.stage]
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
        UserError: as ``stages.run``, or the config file does not fit.
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
    names = list(stages.PIPELINE) if options.stage == "all" else [options.stage]
    function = "estimate" if options.dry_run else "run_deep" if options.deep else "check" if options.check else "run"
    stages.run(config, names, str(options.config), function)
