"""The configuration: one TOML file, read once and strictly into frozen dataclasses.

An unknown key, a wrong type or a bad choice is a ``UserError`` that names the key and, where there is one, the nearest
right key. Every default stands here, or in the ``Options`` of a plug, and nowhere else. What a setting decides
(``decides.py``) stands here too: at the setting itself, or at its section for all keys of the section.
"""

import dataclasses
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BeforeValidator, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from emerge_ehr import presets
from emerge_ehr.decides import (
    ARTEFACTS,
    BINS,
    ENDING,
    EVALUATION,
    NOTHING,
    PATIENTS,
    PIECES,
    REPORT,
    SUMMARIES,
    TABLES,
    TEXTS,
    TRAINING,
    WORK,
    Decides,
    statements,
)
from emerge_ehr.fields import Component, Fraction, Name, Positive, Seed, UserError, parse, refuse_repeated

LONGEST = 24 * 36500  # hours in a hundred years; nobody stays longer
TableFormat = Literal["csv", "parquet"]
FOLDER = re.compile(r"[^\W_][\w .+=@-]{0,99}")


def _one_url_or_more(value: Any) -> Any:
    """Check one address or several, so that a mistake in either shape gives the same message."""
    texts = value if isinstance(value, list | tuple) else [value]
    if not texts or not all(isinstance(text, str) and text for text in texts):
        raise PydanticCustomError("urls", "expected one address in quotes, or a list of them")
    return value if isinstance(value, str) else tuple(value)


Urls = Annotated[Name | tuple[Name, ...], BeforeValidator(_one_url_or_more)]


@dataclass(frozen=True)
class Paths:
    """Folders, relative to the current folder. ``Config`` derives the optional ones from dataset, task and run name."""

    raw_dir: Annotated[Path, Decides("tables", compared=False)]
    kg_dir: Annotated[Path, Decides("artefacts", compared=False, of=("summary",))] = Path("data/kg/primekg")
    table_dir: Annotated[Path | None, Decides("tables", compared=False)] = None
    processed_dir: Annotated[Path | None, NOTHING] = None
    run_dir: Annotated[Path | None, NOTHING] = None
    cache_dir: Annotated[Path, NOTHING] = Path("data/cache")  # graph index, embeddings, answers; remade if deleted


@dataclass(frozen=True)
class Download:
    """What stage ``download`` fetches, from where, and how long it waits for an answer.

    ``primekg`` "example": nothing is fetched; the small graph of the generated hospital is written into ``kg_dir``, to try things
    out.
    """

    primekg: Literal["standard", "full", "lightweight", "none", "example"] = "standard"
    physionet_url: str = "https://physionet.org/files"
    dataverse_url: str = "https://dataverse.harvard.edu"
    primekg_doi: str = "doi:10.7910/DVN/IXA7BM"
    connect_timeout_seconds: Annotated[float, Gt(0)] = 8.0
    read_timeout_seconds: Annotated[float, Gt(0)] = 60.0
    retries: Annotated[int, Ge(0)] = 5


@dataclass(frozen=True)
class Tables:
    """How ``convert`` writes the table of measurements; every later stage reads both formats.

    ``format`` "csv": a file ``dynamic.csv``. "parquet": a folder ``dynamic/`` of parts, smaller and quicker to read.
    """

    format: TableFormat = "csv"


@dataclass(frozen=True)
class Cohort:
    """Which samples are in the cohort, and which hours of them the model sees.

    ``anchor``: a sample is an ICU stay, or the hospital admission around it. ``window``: its first or last ``window_hours``, or
    all of it. ``bin_hours``: how long one step of the series is; the model sees the last value in each, and the last step may be
    shorter. ``min_stay_hours``: how long the stay (or admission) must last. ``min_age`` 0 includes persons of unknown age.
    ``landmarks``: hours of the window; at each of them a stay that lasts so long is a sample of its own, with what was known by
    then, and one model serves all (docs/landmarks.md). Empty: a stay is one sample, with the whole window.
    """

    min_age: Annotated[int, Ge(0), PATIENTS] = 18
    min_stay_hours: Annotated[float, Ge(0), Le(LONGEST), PATIENTS] = 48.0
    anchor: Annotated[Literal["icu", "hospital"], TABLES] = "icu"
    window: Annotated[Literal["first", "last", "whole"], TABLES] = "first"
    window_hours: Annotated[int, Gt(0), Le(LONGEST), TABLES] = 48
    bin_hours: Annotated[int, Gt(0), Le(LONGEST), BINS] = 1
    landmarks: Annotated[tuple[Annotated[int, Gt(0), Le(LONGEST)], ...], ARTEFACTS] = ()

    @property
    def landmark_steps(self) -> tuple[int, ...]:
        """The landmarks in steps of the series."""
        return tuple(hour // self.bin_hours for hour in self.landmarks)


@dataclass(frozen=True)
class Split:
    """Shares of the persons; the remaining ones are the test split.

    ``folds``: cross-validation, the way to report on fewer than a few thousand samples (docs/cross_validation.md). The persons
    are divided into so many folds. For each, everything is fitted anew on the others, in the proportion of ``train`` to
    ``validation``, and tested on it; the run's own model is then fitted on all. 0: one test split.
    ``file``: the split is not drawn but read: a table ``subject_id, split`` as CSV or Parquet, such as
    ``metadata/subject_splits.parquet`` of a MEDS dataset.
    """

    train: Fraction = 0.7
    validation: Fraction = 0.1
    folds: Annotated[int, Ge(0), Le(100)] = 0
    file: Path | None = None


@dataclass(frozen=True)
class Abnormal:
    """Abnormal signals: |z| above ``threshold`` against training-split statistics; at most ``max_signals`` per sample."""

    threshold: Annotated[float, Gt(0)] = 2.0
    max_signals: Positive = 12


@dataclass(frozen=True)
class Linking:
    """Links an entity to the disease with the most similar name, if the similarity reaches ``threshold``; at most ``max_nodes``
    diseases per sample.

    Another similarity needs another threshold. None: the similarity's own, which for ``words`` is a probability of 0.5, and of
    0.4 for the whole of a title (docs/linking_results.md says how it was chosen, and on what).
    """

    threshold: Annotated[float, Gt(0), Le(1)] | None = None
    max_nodes: Positive = 10
    similarity: Component = Component("words")


@dataclass(frozen=True)
class Sparsity:
    """Shares removed before anything is fitted, to see how well a model does with less data (docs/sparsity.md).

    ``patients``: share of the training persons. ``notes``, ``measurements``: shares of the training samples' notes and measured
    hours, or of those of all splits with ``splits`` "all". A larger share removes everything that a smaller one removes.
    """

    patients: Annotated[float, Ge(0), Lt(1)] = 0.0
    notes: Annotated[float, Ge(0), Le(1)] = 0.0
    measurements: Annotated[float, Ge(0), Lt(1)] = 0.0
    splits: Literal["train", "all"] = "train"


@dataclass(frozen=True)
class Llm:
    """Chat-completions endpoints, and what may be spent and sent there (docs/llm.md).

    ``api_base_url``: one URL, or a list of servers of the same model that share the requests; the rates per minute and
    ``concurrency``, the most requests at a time, hold for each server. ``json_mode`` "auto": a schema, else an object, else
    nothing, as the server knows it. ``allow_http``: records may cross a closed network unencrypted. ``entity_backend``,
    ``summary_backend``: the plugs of ``[entities]`` and ``[summary]``. ``extra_body``: more fields of the request, as the
    endpoint documents them. ``price_*``: per million tokens, in any currency; ``max_cost``: bound on the cost of one run, in the
    same currency, 0 for none. 0 requests or tokens per minute: as fast as ``concurrency`` allows. ``max_failures``: the share of
    questions without a usable answer above which the run ends, unless it falls back to rules. ``prompts``: ours, or such as give
    the instructions, inputs and outputs of the original code (docs/llm.md).
    """

    # the two backends are second names of [entities] name and [summary] name, which state what they decide
    entity_backend: Annotated[Name, NOTHING] = "rules"
    summary_backend: Annotated[Name, NOTHING] = "template"
    api_base_url: Annotated[Urls, NOTHING] = "https://api.deepseek.com"
    api_key_env: Annotated[str, NOTHING] = "DEEPSEEK_API_KEY"
    model: Annotated[Name, SUMMARIES] = "deepseek-v4-flash"
    prompts: Annotated[Literal["ours", "published"], SUMMARIES] = "ours"
    json_mode: Annotated[Literal["auto", "schema", "object", "none"], SUMMARIES] = "auto"
    temperature: Annotated[float, Ge(0), SUMMARIES] = 0.0
    max_output_tokens: Annotated[Positive, SUMMARIES] = 2048
    extra_body: Annotated[Mapping[str, Any], SUMMARIES] = field(default_factory=dict)
    concurrency: Annotated[Positive, NOTHING] = 64
    requests_per_minute: Annotated[int, Ge(0), NOTHING] = 0
    tokens_per_minute: Annotated[int, Ge(0), NOTHING] = 0
    timeout_seconds: Annotated[float, Gt(0), NOTHING] = 120.0
    retries: Annotated[int, Ge(0), NOTHING] = 5
    price_input: Annotated[float, Ge(0), NOTHING] = 0.0
    price_output: Annotated[float, Ge(0), NOTHING] = 0.0
    max_cost: Annotated[float, Ge(0), NOTHING] = 0.0
    allow_remote: Annotated[bool, NOTHING] = False
    remote_reason: Annotated[str, NOTHING] = ""
    allow_http: Annotated[bool, NOTHING] = False
    fallback_to_rules: Annotated[bool, SUMMARIES] = False
    max_failures: Annotated[float, Ge(0), Le(1), NOTHING] = 0.2


@dataclass(frozen=True)
class TokenLevel:
    """For token-level fusion: how many pieces of a text are embedded at most, beside the whole text; 0 for none."""

    note_chunks: Annotated[int, Ge(0)] = 0
    summary_chunks: Annotated[int, Ge(0)] = 0


@dataclass(frozen=True)
class Model:
    """EMERGE's size and parts. The sizes are the published settings. ``text_dropout`` (of the components of the text embeddings
    and of the statistics), ``relevance``, ``modality_dropout``, the sum of the texts and the residual fusion are ours;
    docs/paper_settings.md gives the published ones, and docs/models_results.md what the departures are worth.

    ``experts``: plain methods on the same inputs, whose logits are added to the network's, by weights fitted out of fold.
    ``relevance``: the model also reads the statistics of the window, and scales these and the components of embeddings by what
    they tell of the outcome in training. ``plain``: the states of the series and the projected texts go on as they are, without
    normalisation and dropout, as published. ``modality_dropout``: the probability with which a training patient lacks a modality,
    so that the model can do without. ``static``: the model also reads age and sex. ``head``: one network for all labels, or one
    per label (multitask).
    """

    hidden_size: Positive = 128
    heads: Positive = 4
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.25
    text_dropout: Annotated[float, Ge(0), Lt(1)] = 0.0
    modalities: tuple[Literal["ehr", "note", "summary"], ...] = ("ehr", "note", "summary")
    series: Component = Component("gru")
    text_fusion: Component = Component("add")
    fusion: Component = Component("cross_attention")
    relevance: bool = True
    plain: bool = False
    modality_dropout: Annotated[float, Ge(0), Lt(1)] = 0.15
    static: bool = False
    head: Literal["shared", "separate"] = "shared"
    experts: tuple[Literal["gradient_boosting", "logistic_regression"], ...] = (
        "gradient_boosting",
        "logistic_regression",
    )


@dataclass(frozen=True)
class Method:
    """``preset``: "published" makes the settings of the original code the defaults of ``[model]`` and ``[training]``
    (docs/paper_settings.md); what the config gives itself counts more."""

    preset: Literal["", "published"] = ""


@dataclass(frozen=True)
class Training:
    """How the model is trained. ``[method] preset = "published"`` gives the published settings.

    ``members``: so many models are trained, each without another fold of the training and validation patients, and their logits
    averaged (docs/members.md); ``processes`` of them are trained at a time. ``selection``: the best epoch is the one of lowest
    loss, or of highest AUPRC or (as published) AUROC on validation; ``patience`` epochs without a better one end the training.
    ``scheduler``: the learning rate stays, falls to 0 along a cosine over ``max_epochs``, or halves when the validation loss has
    not fallen for three epochs. ``class_weights`` "balanced": a positive weighs (negatives / positives of training) times as
    much. ``deterministic``: on a GPU too, at a cost in speed; training on the CPU always is. ``loggers``: where the history goes
    beside history.csv. ``data``: the arrays are copied into memory, or read from disk batch by batch; "auto" copies them while
    they are small (docs/training_devices.md). The result is the same. ``export``: a finished run folder also gets ``model/``, as
    ``--stage export`` writes it.
    """

    members: Annotated[Positive, TRAINING] = 5
    processes: Annotated[Positive, WORK] = 1
    batch_size: Annotated[Positive, TRAINING] = 256
    max_epochs: Annotated[Positive, ENDING] = 50
    patience: Annotated[Positive, ENDING] = 5
    selection: Annotated[Literal["loss", "auprc", "auroc"], TRAINING] = "loss"
    learning_rate: Annotated[float, Gt(0), TRAINING] = 1e-3
    weight_decay: Annotated[float, Ge(0), TRAINING] = 1e-2
    gradient_clip: Annotated[float, Gt(0), TRAINING] = 1.0
    scheduler: Annotated[Literal["constant", "cosine", "plateau"], TRAINING] = "constant"
    class_weights: Annotated[Literal["none", "balanced"], TRAINING] = "none"
    accelerator: Annotated[Literal["auto", "cpu", "cuda", "mps"], TRAINING] = "auto"
    precision: Annotated[Literal["32-true", "bf16-mixed"], TRAINING] = "32-true"
    compile: Annotated[bool, TRAINING] = False
    deterministic: Annotated[bool, TRAINING] = False
    loggers: Annotated[tuple[Literal["tensorboard", "mlflow"], ...], EVALUATION] = ()
    data: Annotated[Literal["auto", "memory", "mapped"], WORK] = "auto"
    export: Annotated[bool, WORK] = False
    bootstrap_resamples: Annotated[Positive, EVALUATION] = 1000


@dataclass(frozen=True)
class Evaluation:
    """What a run reports (docs/evaluation.md).

    ``interval``: the kind of bootstrap interval, over ``training.bootstrap_resamples`` resamples of persons.
    ``sensitivities``: for each, the highest threshold that reaches it on validation is chosen and applied to every split.
    """

    interval: Literal["percentile", "bca"] = "percentile"
    sensitivities: tuple[Fraction, ...] = (0.8, 0.9)


@dataclass(frozen=True)
class Calibration:
    """How risks are made to mean what they say (docs/calibration.md, docs/sets.md).

    ``method``: the map by which all risks of the run go, fitted on patients of training and validation whom the members that
    judged them had not been trained on; "none" leaves risks as the model gives them. ``coverage``: 0.9 for sets of outcomes that
    hold the true one of 90 of 100 patients with each outcome, where the model may say that it does not know; 0 for none.
    ``groups``: attributes of subgroups, such as "sex" and "age", within each of whose groups that is to hold.
    """

    method: Literal["none", "platt", "isotonic", "venn_abers"] = "none"
    coverage: Annotated[float, Ge(0), Lt(1)] = 0.0
    groups: tuple[Name, ...] = ()


@dataclass(frozen=True)
class Report:
    """What ``report.html`` shows (docs/report.md).

    ``patients``: how many test samples are shown one by one at most; fewer if the file would grow too large. ``label``: the
    outcome by whose risk they are ranked; "" for the first. ``notes``: whether to show the text of notes and what may quote it;
    "auto" shows it only if no data use agreement binds the records.
    """

    patients: Positive = 60
    label: str = ""
    notes: Literal["auto", "include", "omit"] = "auto"


@dataclass(frozen=True)
class Compute:
    """Where ``preprocess`` works and the runs of a grid are trained; no byte of their results depends on it (docs/scale.md).

    ``address``: "local" starts a Ray cluster on this machine and stops it again, "auto" joins the cluster that this machine
    belongs to, "host:port" joins another. ``workers``: actors per pool, or runs at a time; 0 for as many as there is room for.
    ``gpus_per_worker``: the share of a GPU that each worker which runs a model holds. ``partition_patients``: how many samples
    are processed, saved and, if a worker dies, repeated together. ``allow_cluster``: credentialed records may go to the other
    machines of a cluster.
    """

    backend: Literal["local", "ray"] = "local"
    address: Name = "local"
    workers: Annotated[int, Ge(0), Le(10_000)] = 0
    gpus_per_worker: Annotated[float, Ge(0)] = 0.0
    partition_patients: Positive = 200
    allow_cluster: bool = False


@dataclass(frozen=True)
class Config:
    """All settings of a run. ``dataset`` and the task name the artefact folders; ``run_name`` names the run's folder.

    ``seed`` decides everything that is drawn at random. ``seeds``: train once with each, on the artefacts made with ``seed``.
    ``credentialed``: whether a data use agreement binds the records; None for what the source says (``privacy.py``).
    """

    dataset: Annotated[Name, Decides("tables", compared=False)]
    run_name: Annotated[Name, NOTHING]
    paths: Paths
    source: Annotated[Component, TABLES]
    task: Annotated[Component, TABLES] = Component("mortality")
    seed: Annotated[Seed, Decides("tables", compared=False)] = 42
    seeds: Annotated[tuple[Seed, ...], WORK] = ()
    offline: Annotated[bool, NOTHING] = False
    resume: Annotated[bool, WORK] = False
    credentialed: Annotated[bool | None, REPORT] = None
    download: Annotated[Download, NOTHING] = Download()
    knowledge_graph: Annotated[Component, SUMMARIES] = Component("primekg")
    cohort: Cohort = Cohort()
    tables: Annotated[Tables, NOTHING] = Tables()
    split: Annotated[Split, ARTEFACTS] = Split()
    sparsity: Annotated[Sparsity, ARTEFACTS] = Sparsity()
    abnormal: Annotated[Abnormal, SUMMARIES] = Abnormal()
    entities: Annotated[Component, SUMMARIES] = Component("rules")
    linking: Annotated[Linking, SUMMARIES] = Linking()
    retrieval: Annotated[Component, SUMMARIES] = Component("sample")
    summary: Annotated[Component, SUMMARIES] = Component("template")
    embedding: Annotated[Component, TEXTS] = Component("tfidf_svd")
    llm: Llm = field(default_factory=Llm)
    token_level: Annotated[TokenLevel, PIECES] = TokenLevel()
    method: Annotated[Method, NOTHING] = Method()
    model: Annotated[Model, TRAINING] = Model()
    baseline: Annotated[Component | None, TRAINING] = None  # if given, this method is trained instead of EMERGE
    training: Training = Training()
    evaluation: Annotated[Evaluation, EVALUATION] = Evaluation()
    calibration: Annotated[Calibration, EVALUATION] = Calibration()
    report: Annotated[Report, REPORT] = Report()
    compute: Annotated[Compute, WORK] = Compute()

    @property
    def raw_dir(self) -> Path:
        """The folder of the source's raw files."""
        return self.paths.raw_dir

    @property
    def kg_dir(self) -> Path:
        """The folder of PrimeKG's files."""
        return self.paths.kg_dir

    @property
    def table_dir(self) -> Path:
        """The folder of the OneEHR tables."""
        return self.paths.table_dir or Path("data/tables") / self.dataset / self.task.name

    @property
    def processed_dir(self) -> Path:
        """The folder of the model-ready artefacts."""
        return self.paths.processed_dir or Path("data/processed") / self.dataset / self.task.name

    @property
    def run_dir(self) -> Path:
        """The folder that training writes."""
        return self.paths.run_dir or Path("runs") / self.run_name

    def of_folds(self) -> list["Config"]:
        """The config of each fold of ``split.folds``: artefacts and run are in a folder ``fold_<n>`` within this config's."""
        names = [f"fold_{number}" for number in range(1, self.split.folds + 1)]
        return [
            dataclasses.replace(
                self,
                paths=dataclasses.replace(
                    self.paths, processed_dir=self.processed_dir / name, run_dir=self.run_dir / name
                ),
            )
            for name in names
        ]


statements(Config)  # a setting that does not state what it decides is refused here, before anything runs


def load(
    path: Path,
    seed: int | None = None,
    seeds: Sequence[int] = (),
    resume: bool = False,
    offline: bool = False,
    primekg: Literal["full", "lightweight"] | None = None,
) -> Config:
    """Read the TOML at ``path``; the keyword arguments come from the command line and replace what the file says.

    Raises:
        UserError: the file is missing, is not TOML, or does not fit ``Config``.
    """
    config = fill(read_toml(path), str(path))
    for option, values in (("--seed", [] if seed is None else [seed]), ("--seeds", seeds)):
        for value in values:
            if not 0 <= value < 2**32:
                raise UserError(f"{option} {value}: must lie between 0 and 4294967295")
    if seed is not None:
        config = dataclasses.replace(config, seed=seed)
    if seeds:
        config = dataclasses.replace(config, seeds=tuple(seeds))
    refuse_repeated(config.seeds, f"{path}: seeds")
    if primekg is not None:
        config = dataclasses.replace(config, download=dataclasses.replace(config.download, primekg=primekg))
    return dataclasses.replace(config, offline=offline or config.offline, resume=resume or config.resume)


def read_toml(path: Path) -> dict[str, Any]:
    """Read the tables of a TOML file.

    Raises:
        UserError: the file is missing or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        nearby = ", ".join(sorted(str(p) for p in Path("configs").glob("*.toml"))) or "none in configs/"
        raise UserError(f"{path}: no such config file; there are: {nearby}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, IsADirectoryError, RecursionError, ValueError) as error:
        raise UserError(f"{path}: not a TOML file: {error}; mend it, or start from one of configs/") from None


def fill(raw: Mapping[str, Any], where: str) -> Config:
    """The config that the parsed TOML in ``raw`` describes; ``where`` opens every error message.

    Raises:
        UserError: a setting does not fit ``Config``, or settings contradict each other.
    """
    config = parse(Config, presets.applied(_backends_named_once(raw, where)), where)
    for key in ("dataset", "run_name"):
        refuse_path(getattr(config, key), f"{where}: {key}")
    if config.split.train + config.split.validation >= 1:
        raise UserError(f"{where}: split.train + split.validation must be below 1, so that a test share is left")
    if config.split.file is not None and config.split.folds:
        raise UserError(f"{where}: split.file is one split, and split.folds asks for several; give one of them")
    if config.split.folds == 1:
        raise UserError(f"{where}: split.folds must be 0, for one test split, or at least 2")
    if config.model.hidden_size % config.model.heads:
        raise UserError(f"{where}: model.hidden_size must be a multiple of model.heads")
    if not config.model.modalities or len(set(config.model.modalities)) < len(config.model.modalities):
        raise UserError(f"{where}: model.modalities must name one or more of ehr, note, summary, each once")
    if config.cohort.window != "whole" and config.cohort.bin_hours > config.cohort.window_hours:
        raise UserError(
            f"{where}: cohort.bin_hours = {config.cohort.bin_hours} is longer than cohort.window_hours = "
            f"{config.cohort.window_hours}; choose shorter bins, or a longer window"
        )
    _refuse_landmarks(config.cohort, where)
    refuse_repeated(config.model.experts, f"{where}: model.experts")
    refuse_repeated(config.evaluation.sensitivities, f"{where}: evaluation.sensitivities")
    refuse_repeated(config.calibration.groups, f"{where}: calibration.groups")
    if config.calibration.groups and not config.calibration.coverage:
        raise UserError(
            f"{where}: calibration.groups are those of sets; set calibration.coverage too, for example to 0.9"
        )
    return config


def _refuse_landmarks(rule: Cohort, where: str) -> None:
    """Refuse landmarks that do not fit the other rules of the cohort.

    Raises:
        UserError: they do not.
    """
    hours = rule.landmarks
    if not hours:
        return
    if list(hours) != sorted(set(hours)):
        raise UserError(f"{where}: cohort.landmarks must ascend, each hour once")
    if rule.window != "first" or hours[-1] > rule.window_hours:
        raise UserError(
            f"{where}: cohort.landmarks are hours of the first cohort.window_hours = {rule.window_hours}; set cohort.window = "
            f"'first', and window_hours to the last landmark, {hours[-1]}"
        )
    if rule.min_stay_hours > hours[0]:
        raise UserError(
            f"{where}: cohort.min_stay_hours = {rule.min_stay_hours:g} is above the first landmark: at hour {hours[0]} nobody "
            f"knows that a stay will last so long; set it to {hours[0]} or less"
        )
    if wrong := [hour for hour in hours if hour % rule.bin_hours]:
        raise UserError(
            f"{where}: cohort.landmarks: hour {wrong[0]} is not at the end of a step of cohort.bin_hours = {rule.bin_hours}"
        )


def refuse_path(name: str, where: str, remedy: str = "set folders elsewhere in [paths]") -> None:
    """Refuse a folder's name that would lead out of the folder it is made in, or into one below.

    Raises:
        UserError: ``name`` is such a name.
    """
    if not FOLDER.fullmatch(name):
        raise UserError(
            f"{where} = {name!r}: names a folder, so it must be of letters, digits, spaces and . _ - + = @ only, begin with "
            f"a letter or digit, and have at most 100 characters; {remedy}"
        )


def from_record(record: Any, path: Path) -> Config:
    """The config of a run, from the ``record`` that ``fields.to_dict`` put into ``config.json`` at ``path``.

    Raises:
        UserError: the record is not a config, or a config of another version.
    """
    try:
        config = TypeAdapter(Config).validate_python(record)
        for key in ("dataset", "run_name"):
            refuse_path(getattr(config, key), f"{path}: {key}")
        return config
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path}: not a config of this version ({key}: {first['msg'].lower()}); train again") from None


def _backends_named_once(raw: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Copy ``llm.entity_backend`` to ``entities.name`` or the other way round, whichever is given; likewise
    ``llm.summary_backend`` and ``summary.name``.

    Raises:
        UserError: both are given and differ.
    """
    raw, llm = dict(raw), raw.get("llm", {})
    if not isinstance(llm, dict):
        return raw
    for key, socket in (("entity_backend", "entities"), ("summary_backend", "summary")):
        section = raw.get(socket, {})
        section = section if isinstance(section, dict) else {"name": section}
        name = llm.get(key, section.get("name"))
        if name is not None:
            if section.get("name", name) != name:
                raise UserError(
                    f"{where}: llm.{key} = '{name}' but {socket}.name = '{section['name']}'; give one of them"
                )
            raw[socket], llm = {**section, "name": name}, {**llm, key: name}
    return {**raw, "llm": llm} if llm else raw
