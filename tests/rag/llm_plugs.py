"""A language model for plugs that ask one: the example's, if the plug has one, else a model that answers nonsense."""

from collections.abc import Callable
from pathlib import Path

from emerge_ehr.config import Config, Llm, Paths
from emerge_ehr.fields import Component
from emerge_ehr.llm.client import Chat, connect
from tests.chat_server import Body, ChatServer
from tests.examples import chosen, example

Serve = Callable[..., ChatServer]
NONSENSE = "I cannot say."


def model(socket: str, plug: str) -> Callable[[Body], str]:
    answer: Callable[[Body], str] = getattr(example(socket, plug), "answer", lambda body: NONSENSE)
    return answer


def chat(
    socket: str, plug: str, folder: Path, serve: Serve, answer: Callable[[Body], str] | None = None
) -> Chat | None:
    """What a plug of this socket is given as ``llm``: None if it asks for none."""
    server = serve(answer or model(socket, plug))
    config = Config(
        dataset="d",
        run_name="r",
        paths=Paths(raw_dir=folder, cache_dir=folder / "cache"),
        source=Component("tables"),
        llm=Llm(api_base_url=server.url, retries=1, max_failures=1.0),
        **{socket: chosen(socket, plug)},  # type: ignore[arg-type]
    )
    return connect(config)
