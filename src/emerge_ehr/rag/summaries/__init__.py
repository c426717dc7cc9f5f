"""SOCKET Summarizer: a patient's evidence -> a short text of statements, each with the evidence behind it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Annotated, ClassVar, Literal, Protocol

from pydantic import Field

from emerge_ehr.rag.entities import Status
from emerge_ehr.rag.patient_links import LeftOut, Link
from emerge_ehr.rag.ranking.connections import Connected
from emerge_ehr.rag.retrieval import Retrieved
from emerge_ehr.rag.treatments import Contraindication, Given, Kind
from emerge_ehr.signals.abnormal import AbnormalSignal


@dataclass(frozen=True)
class Evidence:
    """Everything that a summary of one patient may state.

    ``age`` in years; ``links``: the most important first; ``diseases``: a link's node -> what was retrieved; ``connected``: a
    link's node -> what of the graph concerns the patient; ``asides``: diseases that the notes deny, only consider or say of
    relatives, and those of the patient that the graph does not have, in their words, by status; ``left_out``: diseases that got
    no place among the links. ``treatments``: what was given, infusions first; ``contraindications``: what the graph holds against
    these in the diseases of the links, and in those left out, which no summary tells.
    """

    age: float | None
    sex: str | None
    signals: Sequence[AbnormalSignal]
    links: Sequence[Link]
    diseases: Mapping[int, Retrieved]
    connected: Mapping[int, Connected] = field(default_factory=dict)
    asides: Mapping[Status, Sequence[str]] = field(default_factory=dict)
    left_out: Sequence[LeftOut] = ()
    treatments: Sequence[Given] = ()
    contraindications: Sequence[Contraindication] = ()

    @property
    def told_contraindications(self) -> tuple[Contraindication, ...]:
        """The contraindications in diseases of the links."""
        nodes = {link.node_index for link in self.links}
        return tuple(one for one in self.contraindications if one.node_index in nodes)


@dataclass(frozen=True)
class OfPerson:
    """A statement rests on age and sex."""

    kind: Literal["patient"] = field(default="patient", kw_only=True)
    age: float | None
    sex: str | None


@dataclass(frozen=True)
class OfSignal:
    """It rests on an abnormal signal, whose fields stand here again."""

    kind: Literal["signal"] = field(default="signal", kw_only=True)
    code: str
    label: str
    direction: str
    value: float
    unit: str
    hour: int
    z: float
    hours_beyond: int


@dataclass(frozen=True)
class OfDisease:
    """It rests on a linked disease, and on the definition where it quotes that; ``quote``: what it quotes of the notes."""

    kind: Literal["disease"] = field(default="disease", kw_only=True)
    node_index: int
    surface: str
    score: float
    definition: bool
    quote: str = ""


@dataclass(frozen=True)
class OfMention:
    """What a language model may cite of a linked disease."""

    kind: Literal["disease"] = field(default="disease", kw_only=True)
    node_index: int
    surface: str


@dataclass(frozen=True)
class OfTriples:
    """It rests on triples of one disease and relation; ``names`` are their ends. ``of_patient``: these are drugs or diseases that
    the patient's notes name."""

    kind: Literal["triples"] = field(default="triples", kw_only=True)
    node_index: int
    relation: str
    names: tuple[str, ...]
    of_patient: bool = False


@dataclass(frozen=True)
class OfManifestations:
    """It rests on abnormal signals (``codes``) that show phenotypes of the disease (``names``)."""

    kind: Literal["manifestations"] = field(default="manifestations", kw_only=True)
    node_index: int
    codes: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True)
class OfNotes:
    """It rests on mentions of the notes that are not of a disease of the patient."""

    kind: Literal["notes"] = field(default="notes", kw_only=True)
    status: Status
    surfaces: tuple[str, ...]


@dataclass(frozen=True)
class OfTreatments:
    """It rests on drugs that were begun in the window, by prescription or infusion (``by``)."""

    kind: Literal["treatments"] = field(default="treatments", kw_only=True)
    by: Kind
    drugs: tuple[str, ...]


@dataclass(frozen=True)
class OfContraindications:
    """It rests on drugs that were begun in the window, and on edges of the graph that hold them contraindicated in a disease of
    the patient. ``drug_nodes``: their nodes."""

    kind: Literal["contraindications"] = field(default="contraindications", kw_only=True)
    node_index: int
    by: Kind
    drugs: tuple[str, ...]
    drug_nodes: tuple[int, ...]


@dataclass(frozen=True)
class OfNothing:
    """It says that the patient has no such evidence."""

    kind: Literal["no signal", "no disease"]


Cited = Annotated[
    OfPerson | OfSignal | OfMention | OfTriples | OfTreatments | OfContraindications, Field(discriminator="kind")
]


@dataclass(frozen=True)
class OfModel:
    """A language model wrote it, and cited ``evidence``."""

    kind: Literal["model"] = field(default="model", kw_only=True)
    evidence: tuple[Cited, ...]


Item = (
    OfPerson
    | OfSignal
    | OfDisease
    | OfMention
    | OfTriples
    | OfManifestations
    | OfNotes
    | OfTreatments
    | OfContraindications
    | OfNothing
)
Grounds = Annotated[
    OfPerson
    | OfSignal
    | OfDisease
    | OfTriples
    | OfManifestations
    | OfNotes
    | OfTreatments
    | OfContraindications
    | OfNothing
    | OfModel,
    Field(discriminator="kind"),
]


@dataclass(frozen=True)
class Statement:
    """A sentence, and the evidence it rests on."""

    text: str
    evidence: Grounds

    @cached_property
    def items(self) -> tuple[Item, ...]:
        """Each piece of evidence: the one that a template names, or those that a language model cited."""
        return self.evidence.evidence if isinstance(self.evidence, OfModel) else (self.evidence,)

    @cached_property
    def nodes(self) -> tuple[int, ...]:
        """The diseases it rests on, by ``node_index``: once for each piece of evidence."""
        return tuple(
            item.node_index
            for item in self.items
            if isinstance(item, OfDisease | OfMention | OfTriples | OfManifestations | OfContraindications)
        )

    @property
    def of_graph(self) -> bool:
        """Whether it says what the graph says of a disease, whoever has it: a definition, or phenotypes and drugs in general."""
        return any(
            (isinstance(item, OfDisease) and item.definition) or (isinstance(item, OfTriples) and not item.of_patient)
            for item in self.items
        )

    @property
    def quotes(self) -> bool:
        """Whether it holds words of the notes, or may hold some."""
        return isinstance(self.evidence, OfModel | OfNotes) or (
            isinstance(self.evidence, OfDisease) and bool(self.evidence.quote)
        )


@dataclass(frozen=True)
class Summary:
    """The statements in order; ``text`` joins theirs by spaces.

    ``backend`` is the plug that wrote them: the configured one, or a fallback. ``failure`` says why the configured one wrote
    none; the next run tries again.
    """

    statements: tuple[Statement, ...]
    backend: str
    failure: str | None = None

    @property
    def text(self) -> str:
        """The summary's text."""
        return " ".join(statement.text for statement in self.statements)


def bounded(statements: Sequence[Statement], characters: int) -> tuple[Statement, ...]:
    """As many whole statements, from the first on, as have at most so many ``characters`` together; the most relevant are first.

    >>> texts = ("Short.", "Too long for it.", "Ok.")
    >>> [s.text for s in bounded([Statement(text, OfNothing("no signal")) for text in texts], 12)]
    ['Short.']
    """
    lengths = accumulate(len(statement.text) + 1 for statement in statements)
    return tuple(statement for statement, length in zip(statements, lengths, strict=True) if length - 1 <= characters)


def mentioned(link: Link, disease: Retrieved) -> tuple[str, str]:
    """The disease that the notes mention, in words, and its definition.

    The definition of a member of a grouped node is empty: the graph has one for the group only.
    """
    if link.member is None:
        return disease.name, disease.definition
    return f"{link.member}, of the group {disease.name}", ""


class Summarizer(Protocol):
    """Writes the summaries. ``asks``: it sends requests to a language model; then one process writes those of all patients."""

    asks: ClassVar[bool]

    def summarise(self, evidence: Sequence[Evidence]) -> list[Summary]:
        """One summary per patient, in the order of ``evidence``."""
