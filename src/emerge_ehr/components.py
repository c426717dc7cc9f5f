"""Finds and builds plugs. A socket is a package; a plug is a module or package in it that has ``Options`` and ``build``.

A name of the form ``package.module`` is a plug of another installed package (``external.py``).
"""

import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from emerge_ehr import external
from emerge_ehr.config import Config
from emerge_ehr.fields import Component, UserError, listed, parse

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
# a socket that also takes the plugs of another socket -> that other socket, and the module that adapts its plugs
ADAPTED = {"baseline": ("model.series", "emerge_ehr.models.baselines._of_series")}


def names(socket: str) -> list[str]:
    """The names of our plugs of the socket with this config key: the modules and packages in its folder without a ``_``."""
    return sorted({*_own(socket), *(_own(ADAPTED[socket][0]) if socket in ADAPTED else ())})


def plug(socket: str, name: str) -> Any:
    """The plug of that name: a module, or another object that has ``Options`` and ``build``.

    Raises:
        UserError: there is no plug of that name, or it is one of another socket.
    """
    where, there = f"{socket}.name = '{name}'", f"there are: {', '.join(names(socket))}"
    if name in names(socket):
        home = socket if name in _own(socket) else ADAPTED[socket][0]
        module = importlib.import_module(f"{SOCKETS[home]}.{name}")
    elif external.is_name(name):
        module = external.load(name, where, there)
        _check_socket(socket, module, where, there)
    else:
        raise UserError(f"{where}: {there}; or package.module of an installed package")
    if socket in ADAPTED and (maker := importlib.import_module(ADAPTED[socket][1])).takes(module):
        return maker.Adapted(module)
    return module


def options(socket: str, chosen: Component) -> Any:
    """The ``Options`` of the chosen plug, filled from the config.

    Raises:
        UserError: there is no such plug, or an option does not fit.
    """
    return parse(plug(socket, chosen.name).Options, chosen.options, f"[{socket}] name = '{chosen.name}'")


def stated(socket: str, chosen: Component, name: str) -> Any:
    """What the ``Options`` of the chosen plug state of the method itself, under this ``name``: which inputs it reads, say.

    Raises:
        UserError: as ``options``; or a plug of another package does not state it.
    """
    fact = getattr(options(socket, chosen), name, None)
    if fact is None:
        raise UserError(f"{socket}.name = '{chosen.name}': its Options have no '{name}', which this socket needs")
    return fact


def is_light(socket: str, chosen: Component) -> bool:
    """Whether the ``Options`` of the chosen plug state that it is ``light``: its work takes one core and little memory, so that
    several processes may each do it. A plug that does not say so is taken for a language model, or for one who asks one.

    Raises:
        UserError: as ``options``.
    """
    return bool(getattr(options(socket, chosen), "light", False))


def build(socket: str, chosen: Component, **context: Any) -> Any:
    """Build the chosen plug from its options and those parts of the ``context`` that its ``build`` has parameters for; plugs of
    one socket may need different parts."""
    return call("build", socket, chosen, **context)


def call(function: str, socket: str, chosen: Component, **context: Any) -> Any:
    """Call a function of the chosen plug with its options and those parts of the ``context`` that it has parameters for.

    Raises:
        UserError: as ``options``; or a plug of another package lacks the function, or its function asks for more.
    """
    filled = options(socket, chosen)
    work = function_of(socket, chosen.name, function)
    if external.is_name(chosen.name):
        _check_parameters(work, context, f"{socket}.name = '{chosen.name}': {function}")
    return apply(work, filled, **context)


def function_of(socket: str, name: str, function: str) -> Callable[..., Any]:
    """A function of the plug of that name.

    Raises:
        UserError: there is no such plug, or a plug of another package lacks the function.
    """
    attribute = getattr(plug(socket, name), function, None)
    if not callable(attribute):
        raise UserError(f"{socket}.name = '{name}': its module has no function '{function}', which this socket needs")
    work: Callable[..., Any] = attribute
    return work


def offers(socket: str, chosen: Component, function: str) -> bool:
    """Whether the chosen plug has a function of that name, which not every plug of the socket has.

    Raises:
        UserError: there is no such plug.
    """
    return callable(getattr(plug(socket, chosen.name), function, None))


def apply(work: Callable[..., Any], filled: Any, **context: Any) -> Any:
    """Call ``work`` with the options and those parts of the ``context`` that it has parameters for."""
    return work(filled, **{name: context[name] for name in inspect.signature(work).parameters if name in context})


def needs(socket: str, chosen: Component, name: str) -> bool:
    """Whether the chosen plug's ``build`` has a parameter for the part of the context with this ``name``."""
    options(socket, chosen)
    return name in inspect.signature(function_of(socket, chosen.name, "build")).parameters


def check(config: Config, sockets: Iterable[str]) -> None:
    """Fill the options of every plug the config chooses for ``sockets``, so that a mistake shows before any work."""
    for _ in _filled(config, sockets):
        pass


def files(config: Config, sockets: Iterable[str]) -> list[Path]:
    """The existing files that the options of the chosen plugs name, including files that are an option's default."""
    values = (value for _, filled in _filled(config, sockets) for value in _values(filled))
    return [path for path in values if isinstance(path, Path) and path.is_file()]


def from_elsewhere(config: Config, sockets: Iterable[str]) -> list[str]:
    """The names of the chosen plugs that belong to other packages, including plugs that an option names."""
    components = [component for chosen, filled in _filled(config, sockets) for component in (chosen, *_values(filled))]
    return sorted(
        {
            component.name
            for component in components
            if isinstance(component, Component) and external.is_name(component.name)
        }
    )


def record(config: Config, sockets: Iterable[str]) -> dict[str, Any]:
    """What artefacts and runs record of the chosen plugs of other packages, under the key ``plugs``; empty if all are ours."""
    names = from_elsewhere(config, sockets)
    return {"plugs": external.record(names)} if names else {}


def changed(config: Config, sockets: Iterable[str], recorded: Mapping[str, Any]) -> str | None:
    """The name of the first chosen plug of another package whose code differs from what ``recorded`` holds of it; None if none
    does."""
    plugs = recorded.get("plugs")
    then = plugs if isinstance(plugs, dict) else {}
    for name in from_elsewhere(config, sockets):
        was = then.get(name)
        if not isinstance(was, dict) or was.get("sha256") != external.code_hash(name):
            return name
    return None


def packages(config: Config) -> list[Path]:
    """The folders of the other packages whose plugs the config chooses."""
    return sorted({external.folder(name) for name in from_elsewhere(config, SOCKETS)})


def chosen(config: Config, socket: str) -> Component:
    """The component that the config names for a socket that must have one."""
    component = chosen_if_any(config, socket)
    assert component is not None, socket
    return component


def chosen_if_any(config: Config, socket: str) -> Component | None:
    """The component that the config names for a socket; None where the socket is optional and the config names none."""
    value: Any = config
    for part in socket.split("."):
        value = getattr(value, part)
    assert value is None or isinstance(value, Component)
    return value


def _check_socket(socket: str, module: ModuleType, where: str, there: str) -> None:
    """Refuse a module whose ``build`` is annotated with the Protocol of another socket.

    An annotation that cannot be read, or says something else, passes.
    """
    fitting = {socket, *ADAPTED.get(socket, ())}
    given = _given(module.build)
    for other, package in SOCKETS.items():
        if other not in fitting and getattr(given, "__module__", None) == package:
            needed = " or ".join(sorted({_given(plug(socket, name).build).__name__ for name in names(socket)}))
            raise UserError(f"{where}: its build gives {given.__name__}, as {other} needs it, not {needed}; {there}")


def _given(build: Callable[..., Any]) -> Any:
    """What ``build`` is annotated to return; where annotations are text, what its module calls by that name, if anything."""
    given = inspect.signature(build).return_annotation
    return getattr(build, "__globals__", {}).get(given) if isinstance(given, str) else given


def _check_parameters(work: Callable[..., Any], context: Mapping[str, Any], what: str) -> None:
    """Refuse a function with a parameter that has no default and is not in the ``context``; the first takes the options."""
    parameters = list(inspect.signature(work).parameters.values())[1:]
    starred = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [one.name for one in parameters if one.default is one.empty and one.kind not in starred]
    if lacking := [name for name in needed if name not in context]:
        raise UserError(
            f"{what} asks for {listed(lacking)}, which this socket does not give; it gives: {', '.join(context)}"
        )


def _own(socket: str) -> list[str]:
    package = importlib.import_module(SOCKETS[socket])
    return [module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_")]


def _values(filled: Any) -> Iterator[Any]:
    """The values of the options, and of the tables among them that have names of the user's."""
    for value in vars(filled).values():
        yield value
        for table in value.values() if isinstance(value, dict) else ():
            if dataclasses.is_dataclass(table):
                yield from _values(table)


def _filled(config: Config, sockets: Iterable[str]) -> Iterator[tuple[Component, Any]]:
    """Yield every chosen plug with its filled options."""
    for socket in sockets:
        component = chosen_if_any(config, socket)
        if component is not None:
            yield component, options(socket, component)
