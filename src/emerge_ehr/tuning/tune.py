"""Stage tune: searches the best values of any keys of a config, on training and validation patients alone.

Trials are kept in an SQLite file, so that a search that was stopped goes on, and processes can share it. The sampler is Optuna's
TPE. Written into ``runs/<name>/``: ``trials.csv``, ``tune.md`` with the best trials and how much each key mattered, and
``best.toml``, the base with the best values, which the other stages take.
"""

import contextlib
import dataclasses
import hashlib
import json
import logging
import multiprocessing
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from emerge_ehr import components, privacy
from emerge_ehr.comparison import preparation
from emerge_ehr.comparison.folder import RUNS, held
from emerge_ehr.config import Config
from emerge_ehr.fields import UserError, to_dict
from emerge_ehr.storage import artefacts, markdown, publishing, spreadsheet
from emerge_ehr.storage.schema import MANIFEST
from emerge_ehr.tuning import search as searches
from emerge_ehr.tuning.score import score
from emerge_ehr.tuning.search import Search

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

STUDY, TRIALS, SUMMARY, BEST = "study.db", "trials.csv", "tune.md", "best.toml"
WHY, SEARCHED = "why", "searched"  # attributes in the study: of a trial that failed, and of the study
INTERRUPTED = "the process was ended"
LISTED = 10  # trials in the summary
WAIT = 120.0  # seconds for which a process waits for another that writes the study

log = logging.getLogger(__name__)


def run(config: Path, offline: bool) -> None:
    """Run the search at ``config`` to its number of trials, write what was found and print it.

    Raises:
        UserError: the file does not fit; Optuna is not installed; the folder belongs to another search, or another process runs
            it; or no trial could be trained.
    """
    search = searches.load(config)
    base = _checked(searches.config_of(search, {}, f"{search.base} with the settings of {config}"), offline)
    searches.refuse_impossible(search, config)
    folder = RUNS / search.name
    if (folder / MANIFEST).is_file():
        raise UserError(f"{config}: {folder} is the folder of a run; give the search another `name`")
    artefacts.require_writable(folder)
    with held(folder), privacy.owner_only(base), _told_of(folder / STUDY):
        study = _study(search, folder, base)
        _fail_interrupted(study)
        shutil.rmtree(folder / "trials", ignore_errors=True)  # what a killed process has left
        left = search.trials - len(study.trials)
        log.info("tune: %d of %d trials to do, by %s", max(0, left), search.trials, search.metric)
        if left > 0:
            _optimize(search, folder, offline, left)
        print(_publish(search, folder, study))


def _checked(config: Config, offline: bool) -> Config:
    config = dataclasses.replace(config, offline=offline or config.offline, seeds=(), resume=False)
    components.check(config, components.SOCKETS)
    return config


def _study(search: Search, folder: Path, base: Config) -> "Study":
    """The study in the folder, which is made if it is not there.

    Raises:
        UserError: it is that of other ranges, settings or another base.
    """
    try:
        import optuna
    except ImportError:
        raise UserError("--stage tune needs Optuna: install it with the extra 'tune' (uv sync --extra tune)") from None
    # what it warns of, with a traceback, is told in a line by _tried
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        storage=_storage(folder),
        study_name=search.name,
        direction="minimize" if search.metric == "log_loss" else "maximize",
        load_if_exists=True,
    )
    mark = _mark(search, base)
    if study.user_attrs.get(SEARCHED, mark) != mark:
        raise UserError(
            f"{folder / STUDY}: holds trials of other ranges, settings, metric or another base; give this search a `name` of its "
            f"own, or delete {folder}"
        )
    study.set_user_attr(SEARCHED, mark)
    return study


@contextlib.contextmanager
def _told_of(path: Path) -> Iterator[None]:
    """Make one line of an error of the study's file.

    Raises:
        UserError: it is no SQLite file, is damaged, or cannot be written.
    """
    try:
        from optuna.exceptions import StorageInternalError
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError:  # told where Optuna is needed
        yield
        return
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = error if isinstance(error, SQLAlchemyError) else error.__cause__ or error
        raise UserError(
            f"{path}: the study cannot be read or written: {artefacts.first_line(getattr(cause, 'orig', None) or cause)}; make "
            "room if the disk is full, or delete the file to begin anew"
        ) from None


def _storage(folder: Path) -> Any:
    import optuna

    return optuna.storages.RDBStorage(
        f"sqlite:///{(folder / STUDY).absolute()}", engine_kwargs={"connect_args": {"timeout": WAIT}}
    )


def _mark(search: Search, base: Config) -> str:
    """A hash of what trials must share to be compared."""
    ranges = {key: dataclasses.asdict(values) for key, values in search.tune.items()}
    settings = to_dict(dataclasses.replace(base, offline=False))
    text = json.dumps([settings, ranges, search.metric], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _fail_interrupted(study: "Study") -> None:
    """Give up the trials of a process that was ended."""
    from optuna.trial import TrialState

    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        log.info("tune: trial %d was interrupted, and counts as failed", trial.number)


def _optimize(search: Search, folder: Path, offline: bool, left: int) -> None:
    """Do ``left`` trials, in this process or in several."""
    workers = min(search.workers, left)
    if workers == 1:
        _work(search, folder, offline, left, 0)
        return
    context = multiprocessing.get_context("spawn")
    shares = [left // workers + (number < left % workers) for number in range(workers)]
    processes = [
        context.Process(target=_work_alone, args=(search, folder, offline, share, number))
        for number, share in enumerate(shares)
    ]
    for process in processes:
        process.start()
    try:
        for process in processes:
            process.join()
    finally:
        for process in processes:
            process.terminate()
    if lost := [process for process in processes if process.exitcode]:
        log.warning("tune: %d of %d processes ended early; run the stage again to go on", len(lost), workers)


def _work_alone(search: Search, folder: Path, offline: bool, count: int, number: int) -> None:
    """The work of one of several processes: with one thread, so that they do not wait for each other."""
    import torch

    torch.set_num_threads(1)
    _work(search, folder, offline, count, number)


def _work(search: Search, folder: Path, offline: bool, count: int, number: int) -> None:
    """Do ``count`` trials. ``number``: that of the process, so that no two draw the same."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)  # of a process of its own
    study = optuna.load_study(study_name=search.name, storage=_storage(folder))
    drawn = search.seed + 1000 * number + len(study.trials)  # a search that goes on does not draw what it drew before
    study.sampler = optuna.samplers.TPESampler(seed=drawn % 2**32, constant_liar=search.workers > 1)
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=5) if search.prune else optuna.pruners.NopPruner()
    study.optimize(lambda trial: _tried(search, folder, offline, trial), n_trials=count, catch=(UserError,))


def _tried(search: Search, folder: Path, offline: bool, trial: "Trial") -> float:
    """The score of a trial.

    Raises:
        optuna.TrialPruned: its members so far are worse than most.
        UserError: its values do not go together; Optuna counts it as failed.
    """
    import optuna

    values = searches.suggest(trial, search)
    place = folder / "trials" / str(trial.number)
    try:
        config = _checked(searches.config_of(search, values, str(search.base)), offline)
        config = preparation.placed(config)
        failed = preparation.prepare(preparation.needed([config]))
        if why := failed.get(config.processed_dir):
            raise UserError(why)
        run_dir = dataclasses.replace(config.paths, run_dir=place)

        def after_member(number: int, value: float) -> None:
            trial.report(value, number)
            if search.prune and number < config.training.members and trial.should_prune():
                raise optuna.TrialPruned

        found = score(
            dataclasses.replace(config, run_name=f"trial {trial.number}", paths=run_dir), search.metric, after_member
        )
    except UserError as error:
        trial.set_user_attr(WHY, artefacts.first_line(error))
        log.warning("tune: trial %d failed: %s", trial.number, artefacts.first_line(error))
        raise
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(place, ignore_errors=True)
            place.parent.rmdir()
    log.info("tune: trial %d: %s %.4f with %s", trial.number, search.metric, found, _said(values))
    return found


def _said(values: Any) -> str:
    return ", ".join(
        f"{key} = {value:.4g}" if isinstance(value, float) else f"{key} = {value}" for key, value in values.items()
    )


def _publish(search: Search, folder: Path, study: "Study") -> str:
    """Write what the search has found. Returns the summary and the place of the best config, to print.

    Raises:
        UserError: no trial ended.
    """
    from optuna.trial import TrialState

    trials = study.get_trials()
    ended = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    reasons = [f"trial {trial.number}: {trial.user_attrs[WHY]}" for trial in trials if WHY in trial.user_attrs]
    if not ended:
        raise UserError(f"{folder}: none of {len(trials)} trials could be trained; " + "; ".join(reasons[:3]))
    summary = "\n".join(_summary(search, study, trials, ended, reasons))
    best = searches.raw_config(search, study.best_trial.params)
    best["run_name"] = f"{best['run_name']}_tuned"
    with publishing.publish(folder) as incoming:
        spreadsheet.safe_texts(_table(search, trials)).write_csv(incoming / TRIALS)
        (incoming / SUMMARY).write_text(summary + "\n", "utf-8")
        (incoming / BEST).write_text(_toml(search, study, best), "utf-8")
    return f"{summary}\nbest config: {folder / BEST}"


def _toml(search: Search, study: "Study", raw: dict[str, Any]) -> str:
    import tomlkit

    best = f"trial {study.best_trial.number} of {len(study.trials)}, {search.metric} {study.best_value:.4f}"
    first = f"# {search.base}, tuned: {best}"
    return f"{first}\n# on training and validation patients; the test split was not looked at.\n{tomlkit.dumps(raw)}"


def _table(search: Search, trials: Sequence["FrozenTrial"]) -> pl.DataFrame:
    """A row per trial: number, state, value, values of the keys, and why it failed."""
    rows = [
        {
            "trial": trial.number,
            "state": trial.state.name.lower(),
            search.metric: trial.value,
            **{key: None if key not in trial.params else str(trial.params[key]) for key in search.tune},
            WHY: trial.user_attrs.get(WHY, INTERRUPTED if trial.state.name == "FAIL" else None),
        }
        for trial in trials
    ]
    texts = dict.fromkeys([*search.tune, WHY, "state"], pl.String)
    return pl.DataFrame(rows, schema_overrides={**texts, search.metric: pl.Float64})


def _summary(
    search: Search,
    study: "Study",
    trials: Sequence["FrozenTrial"],
    ended: Sequence["FrozenTrial"],
    reasons: Sequence[str],
) -> list[str]:
    from optuna.trial import TrialState

    pruned = sum(trial.state is TrialState.PRUNED for trial in trials)
    better = sorted(ended, key=lambda trial: trial.value or 0.0, reverse=search.metric != "log_loss")
    keys = list(search.tune)
    lines = [
        f"# {search.name}: {search.base} tuned by {search.metric} of training and validation patients",
        "",
        f"{len(trials)} trials: {len(ended)} ended, {pruned} were stopped early, {len(trials) - len(ended) - pruned} failed. The "
        "best of many trials looks better than it is: its score is no estimate of how well it predicts; the test split is, once.",
        "",
    ]
    rows = [["trial", search.metric, *keys]]
    for trial in better[:LISTED]:
        values = [trial.params[key] for key in keys]
        cells = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in values]
        rows.append([str(trial.number), f"{trial.value:.4f}", *cells])
    lines += markdown.table(rows)
    if importance := _importance(study, ended, keys):
        lines += ["", "Share of the variation between trials that each key explains (fANOVA): " + importance + "."]
    lines += ["", *(f"- failed: {reason}" for reason in reasons)] if reasons else []
    return lines


def _importance(study: "Study", ended: Sequence["FrozenTrial"], keys: Sequence[str]) -> str:
    import optuna

    values = {trial.value for trial in ended}
    if len(keys) < 2 or len(ended) < 10 or len(values) < 2:
        return ""
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return ", ".join(f"{key} {100 * share:.0f} %" for key, share in shares.items())
