"""Finds and builds plugs. A socket is a package; a plug is one module (or package) in it with ``Options`` and ``build``."""

import importlib
import inspect
import pkgutil
from pathlib import Path
from typing import Any

from emerge_ehr.config import Config
from emerge_ehr.fields import Component, UserError, parse

# config key -> package of the socket
SOCKETS = {
    "source": "emerge_ehr.datasets.sources",
    "task": "emerge_ehr.datasets.tasks",
    "knowledge_graph": "emerge_ehr.graphs",
    "entities": "emerge_ehr.rag.entities",
    "linking.similarity": "emerge_ehr.rag.similarity",
    "retrieval": "emerge_ehr.rag.retrieval",
    "summary": "emerge_ehr.rag.summaries",
    "embedding": "emerge_ehr.embeddings",
    "model.series": "emerge_ehr.models.series",
    "model.text_fusion": "emerge_ehr.models.text_fusion",
    "model.fusion": "emerge_ehr.models.fusion",
    "baseline": "emerge_ehr.models.baselines",
}


def names(socket: str) -> list[str]:
    """The plugs of a socket, by the config key it is chosen with: one for every module or package in its folder whose name does
    not begin with ``_``."""
    package = importlib.import_module(SOCKETS[socket])
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_"))


def options(socket: str, chosen: Component) -> Any:
    """The ``Options`` of the chosen plug, filled.

    Raises:
        UserError: there is no such plug, or an option does not fit.
    """
    if chosen.name not in names(socket):
        raise UserError(f"{socket}.name = '{chosen.name}': there are: {', '.join(names(socket))}")
    module = importlib.import_module(f"{SOCKETS[socket]}.{chosen.name}")
    return parse(module.Options, chosen.options, f"[{socket}] name = '{chosen.name}'")


def build(socket: str, chosen: Component, **context: Any) -> Any:
    """The chosen plug, built from its options and of the ``context`` what its ``build`` names: plugs of one socket need not need
    the same."""
    return call("build", socket, chosen, **context)


def call(function: str, socket: str, chosen: Component, **context: Any) -> Any:
    """A function of the chosen plug's module, given its options and of the ``context`` what it names."""
    filled = options(socket, chosen)
    work = getattr(importlib.import_module(f"{SOCKETS[socket]}.{chosen.name}"), function)
    return work(filled, **{name: context[name] for name in inspect.signature(work).parameters if name in context})


def check(config: Config, sockets: tuple[str, ...]) -> None:
    """Fill the options of every plug the config chooses for ``sockets``, so that a mistake shows before any work."""
    for socket in sockets:
        component = chosen_if_any(config, socket)
        if component is not None:
            options(socket, component)


def files(config: Config, sockets: tuple[str, ...]) -> list[Path]:
    """The files that options of the chosen plugs name, and their built-in ones, as far as they are there."""
    filled = [options(socket, one) for socket in sockets if (one := chosen_if_any(config, socket)) is not None]
    named = (value for one in filled for value in vars(one).values() if isinstance(value, Path))
    return [path for path in named if path.is_file()]


def chosen(config: Config, socket: str) -> Component:
    """The component that the config names for a socket which needs one."""
    component = chosen_if_any(config, socket)
    assert component is not None, socket
    return component


def chosen_if_any(config: Config, socket: str) -> Component | None:
    """The component that the config names for a socket; None where it may name none and does not."""
    value: Any = config
    for part in socket.split("."):
        value = getattr(value, part)
    assert value is None or isinstance(value, Component)
    return value
