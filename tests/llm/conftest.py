"""A client of a test server."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from emerge_ehr.config import Config, Llm, Paths
from emerge_ehr.fields import Component
from emerge_ehr.llm.client import Chat, connect
from tests.chat_server import ChatServer


@pytest.fixture
def client(tmp_path: Path) -> Callable[..., Chat]:
    """A chat with a server, or several; the keyword arguments are those of ``[llm]``."""

    def build(server: ChatServer | Sequence[ChatServer], dry: bool = False, **settings: object) -> Chat:
        url = server.url if isinstance(server, ChatServer) else tuple(each.url for each in server)
        config = Config(
            dataset="test",
            run_name="test",
            paths=Paths(raw_dir=tmp_path, cache_dir=tmp_path / "cache"),
            source=Component("tables"),
            entities=Component("openai_compatible"),
            llm=Llm(api_base_url=url, **{"retries": 2, "max_failures": 1.0, **settings}),  # type: ignore[arg-type]
        )
        chat = connect(config, dry=dry)
        assert chat is not None
        return chat

    return build
