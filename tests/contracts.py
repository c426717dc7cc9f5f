"""The form that every plug of a socket has, whatever it does: ``Options``, ``build`` and what must stand beside them."""

import dataclasses
import importlib
import inspect
import typing
from types import ModuleType
from typing import Any

from emerge_ehr import components
from emerge_ehr.datasets.sources import Source
from emerge_ehr.datasets.tasks import Task
from emerge_ehr.embeddings import TextEncoder
from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.models.fusion import Fusion
from emerge_ehr.models.series import Series
from emerge_ehr.models.text_fusion import TextFusion
from emerge_ehr.rag.entities import EntityExtractor
from emerge_ehr.rag.retrieval import Retriever
from emerge_ehr.rag.similarity import NameSimilarity
from emerge_ehr.rag.summaries import Summarizer


@dataclasses.dataclass(frozen=True)
class Socket:
    """``protocol``: what ``build`` gives; ``context``: what it may ask for; ``beside``: other functions of the module, and
    their parameters."""

    protocol: Any
    context: set[str]
    beside: dict[str, list[str]] = dataclasses.field(default_factory=dict)


DOWNLOAD = {"download": ["options", "offline"]}
SOCKETS = {
    "source": Socket(Source, {"raw_dir", "kg_dir", "seed", "label_codes", "predictions"}),
    "task": Socket(Task, set()),
    "knowledge_graph": Socket(KnowledgeGraph, {"folder", "cache_dir"}),
    "entities": Socket(EntityExtractor, {"graph", "llm", "pool"}),
    "linking.similarity": Socket(NameSimilarity, {"names", "seed", "cache_dir", "pool"}, DOWNLOAD),
    "retrieval": Socket(Retriever, {"graph", "seed"}),
    "summary": Socket(Summarizer, {"question", "window", "llm"}),
    "embedding": Socket(
        TextEncoder, {"seed", "cache_dir", "pool", "texts"}, {**DOWNLOAD, "load": ["folder", "name", "cache_dir"]}
    ),
    "model.series": Socket(Series, {"input_size", "hidden_size", "heads", "dropout"}),
    "model.text_fusion": Socket(TextFusion, {"texts", "hidden_size"}),
    "model.fusion": Socket(Fusion, {"modalities", "hidden_size", "heads", "dropout"}),
}


def check_form(socket: str, module: ModuleType) -> None:
    """Raises:
    AssertionError: the module is no plug of the socket; what it lacks.
    """
    wanted, plug = SOCKETS[socket], f"{socket} '{module.__name__.rsplit('.', 1)[-1]}'"
    options = getattr(module, "Options", None)
    frozen = dataclasses.is_dataclass(options) and getattr(options, "__dataclass_params__").frozen  # noqa: B009
    assert frozen, f"{plug}: Options must be a frozen dataclass"
    build = getattr(module, "build", None)
    assert callable(build), f"{plug}: there is no function build(options, *, ...)"
    names = list(inspect.signature(build).parameters)
    assert names[:1] == ["options"], f"{plug}: the first parameter of build must be options, not {names[:1]}"
    unknown = set(names[1:]) - wanted.context
    assert not unknown, (
        f"{plug}: build asks for {sorted(unknown)}; there is: {sorted(wanted.context) or 'nothing more'}"
    )
    given, name = typing.get_type_hints(build).get("return"), wanted.protocol.__name__
    assert given is wanted.protocol, f"{plug}: build must be annotated with -> {name}, not {given}"
    for function, parameters in wanted.beside.items():
        work = getattr(module, function, None)
        assert callable(work), f"{plug}: there is no function {function}({', '.join(parameters)})"
        assert list(inspect.signature(work).parameters) == parameters, f"{plug}: {function} must take {parameters}"


def module_of(socket: str, plug: str) -> ModuleType:
    return importlib.import_module(f"{components.SOCKETS[socket]}.{plug}")
