"""What may leave this machine, and what may not: decided before any work."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from emerge_ehr import components, privacy
from emerge_ehr.config import Config, load
from emerge_ehr.fields import Component, UserError
from emerge_ehr.llm.client import connect
from emerge_ehr.rag import entities
from tests.places import MAIN, ROOT

HEAD = 'dataset = "d"\nrun_name = "r"\n{top}\n[paths]\nraw_dir = "raw"\ncache_dir = "{cache}"\n{paths}\n[source]\n{source}\n'
LLM = '[llm]\nsummary_backend = "openai_compatible"\napi_base_url = {url}\n{more}\n'
LOCAL = "http://127.0.0.1:8000/v1"
DEEPSEEK = "https://api.deepseek.com"
MIMIC = 'name = "mimic4"'
OPEN = "credentialed = false"
LEAVE = 'allow_remote = true\nremote_reason = "agreement 7 of our hospital"'
Make = Callable[..., Config]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def build(source: str = MIMIC, url: object = DEEPSEEK, more: str = "", top: str = "", paths: str = "") -> Config:
        path = tmp_path / "c.toml"
        head = HEAD.format(top=top, paths=paths, source=source, cache=tmp_path / "cache")
        path.write_text(head + LLM.format(url=json.dumps(url), more=more))
        return load(path)

    return build


def test_what_the_config_says_of_its_records_goes_before_what_is_found(make: Make) -> None:
    for source in (MIMIC, 'name = "synthetic"'):
        assert privacy.credentialed(make(source))  # there are no tables that could prove anything
        assert privacy.credentialed(make(source, top="credentialed = true")) is True
        assert privacy.credentialed(make(source, top="credentialed = false")) is False


@pytest.mark.parametrize(
    ("url", "more", "message"),
    [
        ("http://127.0.0.1:99999/v1", "", "no such port"),
        (DEEPSEEK, 'extra_body = { model = "another" }', "llm.extra_body holds 'model'"),
    ],
)
def test_a_port_or_a_field_that_cannot_be_is_one_line(make: Make, url: str, more: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        privacy.check(make(url=url, more=more))


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/v1", "http://localhost:8000/v1", "http://[::1]:8000/v1"])
def test_this_machine_may_be_asked(make: Make, url: str) -> None:
    privacy.check(make(url=url))


@pytest.mark.parametrize(
    "url",
    [
        DEEPSEEK,
        "https://127.0.0.1.example.org/v1",
        "https://localhost.example.org/v1",
        "https://gpu-server/v1",
        "https://10.0.0.3/v1",
        "https://0.0.0.0/v1",
    ],
)
def test_credentialed_records_go_to_no_other_machine_without_leave_and_reason(make: Make, url: str) -> None:
    for more in ("", "allow_remote = true", 'allow_remote = true\nremote_reason = "  "', 'remote_reason = "because"'):
        with pytest.raises(UserError, match="is credentialed: its records must not leave"):
            privacy.check(make(url=url, more=more))
    privacy.check(make(url=url, more=LEAVE))
    privacy.check(make(url=url, top=OPEN))
    privacy.check(make('name = "synthetic"', url=url), ("download", "convert", "preprocess"))


@pytest.mark.parametrize("url", ["http://api.deepseek.com", "http://10.0.0.3:8000/v1"])
def test_nothing_goes_to_another_machine_in_the_clear(make: Make, url: str) -> None:
    for source in (MIMIC, 'name = "synthetic"'):
        with pytest.raises(UserError, match="https only"):
            privacy.check(make(source, url=url, more=LEAVE))


@pytest.mark.parametrize("source", [MIMIC, 'name = "synthetic"'])
def test_a_closed_network_is_crossed_unencrypted_only_with_leave_reason_and_a_key_of_its_own(
    make: Make, source: str
) -> None:
    url = "http://gpu-1.hospital:8000/v1"
    for more in ("", "allow_remote = true", 'remote_reason = "because"', 'allow_remote = true\nremote_reason = " "'):
        with pytest.raises(UserError, match=r"llm.allow_http .* needs llm.allow_remote = true, and why"):
            privacy.check(make(source, url=url, more=f"allow_http = true\n{more}"))
    privacy.check(make(source, url=url, more=f"allow_http = true\n{LEAVE}"))
    privacy.check(make(source, url=[LOCAL, url, "https://gpu-2/v1"], more=f"allow_http = true\n{LEAVE}"))


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(
    ("url", "message"),
    [
        (DEEPSEEK, "api.deepseek.com is another machine and dataset 'd' is credentialed"),
        ("http://gpu-1:8000/v1", "gpu-1 is another machine; notes go there by https only"),
        ("https://user:secret@host/v1", "llm.api_base_url, number {n} holds a user name"),
        ("ftp://host", "llm.api_base_url, number {n} = 'ftp://host': expected"),
        (f"{LOCAL}/", "stands twice"),
    ],
)
def test_every_url_of_a_list_is_looked_at(make: Make, place: int, url: str, message: str) -> None:
    urls = [LOCAL, "http://127.0.0.1:8001/v1"]
    urls.insert(place, url)
    with pytest.raises(UserError, match=message.format(n=place + 1)) as error:
        privacy.check(make(url=urls))
    assert "secret" not in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("url", [3, [], [""], [LOCAL, 4], "", {"a": LOCAL}])
def test_what_is_no_url_and_no_list_of_them_is_one_line(tmp_path: Path, url: object) -> None:
    path = tmp_path / "c.toml"
    told = "{ a = 1 }" if isinstance(url, dict) else json.dumps(url)
    head = HEAD.format(top="", paths="", source=MIMIC, cache="cache")
    path.write_text(head + LLM.format(url=told, more=""))
    with pytest.raises(UserError, match=r"llm.api_base_url = .*: expected one address in quotes, or a list of them"):
        load(path)


def test_hosts_are_recorded_whatever_their_order_and_what_may_not_be_asked_offline(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPSEEK_API_KEY", "key")
    hosts = ["https://b.example.org/v1", LOCAL, "https://a.example.org/v1", "http://127.0.0.1:8001/v1"]
    found = [connect(make(url=urls, more=LEAVE, top="offline = true")) for urls in (hosts, hosts[::-1])]
    records = [chat.metadata() for chat in found if chat]
    assert records[0] == records[1] and records[0]["endpoint"] == "127.0.0.1, a.example.org, b.example.org"
    assert records[0]["remote_reason"] and all(chat and chat.forbidden for chat in found)
    here = connect(make(url=[LOCAL, "http://127.0.0.1:8001/v1"], top="offline = true"))
    assert here and not here.forbidden and here.metadata()["endpoint"] == "127.0.0.1"


@pytest.mark.parametrize("url", ["https://user:secret@host/v1", "https://host/v1?key=secret", "ftp://host", "host/v1"])
def test_a_strange_url_is_refused_and_a_secret_in_it_not_repeated(make: Make, url: str) -> None:
    with pytest.raises(UserError, match=r"llm.api_base_url") as error:
        privacy.check(make(url=url, more=LEAVE))
    assert "secret" not in str(error.value)


def test_the_reason_and_the_host_are_recorded(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSEEK_API_KEY", "key")
    chat = connect(make(more=LEAVE))
    assert chat is not None
    record = chat.metadata()
    assert record["endpoint"] == "api.deepseek.com" and record["credentialed"] is True
    assert record["remote_reason"] == "agreement 7 of our hospital"


def test_a_missing_key_is_named_for_another_machine_only(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEEPSEEK_API_KEY", raising=False)
    with pytest.raises(UserError, match="environment variable DEEPSEEK_API_KEY is not set"):
        connect(make(more=LEAVE))
    assert connect(make(url="http://127.0.0.1:1/v1")) is not None
    assert connect(make(more=LEAVE), dry=True) is not None


def test_offline_nothing_is_asked_of_another_machine(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from emerge_ehr.llm.client import Question

    monkeypatch.setenv("DEEPSEEK_API_KEY", "key")
    chat = connect(make(top=f"offline = true\n{OPEN}"))
    assert chat is not None
    with pytest.raises(UserError, match="--offline: 1 answers of deepseek-v4-flash are not in"):
        chat.ask(lambda n: Question("p.v1", "s", str(n), {}, dict), [1], "numbers")


def test_a_config_without_a_model_is_never_refused(make: Make) -> None:
    config = make(more="").__class__(**{**vars(make()), "summary": make().entities.__class__("template")})
    privacy.check(config)
    assert connect(config) is None


def test_an_extractor_of_anybody_that_asks_a_model_is_held_to_the_rules(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugs = tmp_path / "plugs"
    plugs.mkdir()
    plug = "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Options:\n    pass\n"
    (plugs / "of_somebody.py").write_text(f"{plug}def build(options, *, llm):\n    return llm\n")
    monkeypatch.setattr(entities, "__path__", [*entities.__path__, str(plugs)])
    config = dataclasses.replace(make(), entities=Component("of_somebody"), summary=Component("template"))
    with pytest.raises(UserError, match="is credentialed"):
        privacy.check(config)


def test_a_bound_on_the_cost_needs_prices(make: Make) -> None:
    with pytest.raises(UserError, match=r"llm.max_cost bounds nothing without"):
        privacy.check(make(top=OPEN, more="max_cost = 1.0"))


def test_the_ready_config_may_ask_its_endpoint_because_it_downloads_an_open_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = ROOT / "configs" / "mimic4_demo_llm.toml"
    monkeypatch.chdir(tmp_path)
    privacy.check(load(ready), ("download", "convert", "preprocess", "train", "report"))
    full = tmp_path / "full.toml"
    full.write_text(ready.read_text().replace('project = "mimic-iv-demo"\n', ""))
    with pytest.raises(UserError, match="is credentialed"):
        privacy.check(load(full), ("download", "convert", "preprocess", "train", "report"))


@pytest.mark.parametrize("stage", ["all", "convert", "train"])
def test_the_refusal_comes_before_any_work(make: Make, tmp_path: Path, stage: str) -> None:
    make()
    command = [sys.executable, str(MAIN), "--config", "c.toml", "--stage", stage]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith(
        "error: llm.api_base_url: api.deepseek.com is another machine"
    )
    assert "stage" not in done.stderr.splitlines()[0].split("stage")[0] and len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["c.toml"]


@pytest.mark.parametrize(
    ("section", "llm", "expected"),
    [
        ("", 'entity_backend = "openai_compatible"', "openai_compatible"),
        ('[entities]\nname = "openai_compatible"', "", "openai_compatible"),
        ('[entities]\nname = "rules"', 'entity_backend = "rules"', "rules"),
        ("[entities]\nwindow_characters = 900", 'entity_backend = "openai_compatible"', "openai_compatible"),
        ('[entities]\nname = "rules"', 'entity_backend = "openai_compatible"', None),
        ("", "", "rules"),
    ],
)
def test_the_backend_is_named_in_one_place(tmp_path: Path, section: str, llm: str, expected: str | None) -> None:
    path = tmp_path / "c.toml"
    head = HEAD.format(top="", paths="", source='name = "synthetic"', cache="cache")
    path.write_text(f"{head}{section}\n[llm]\n{llm}\n")
    if expected is None:
        with pytest.raises(UserError, match=r"llm.entity_backend = 'openai_compatible' but entities.name = 'rules'"):
            load(path)
    else:
        config = load(path)
        assert config.entities.name == config.llm.entity_backend == expected


def test_an_unknown_backend_lists_those_there_are(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    head = HEAD.format(top="", paths="", source='name = "synthetic"', cache="cache")
    path.write_text(f'{head}[llm]\nentity_backend = "gpt"\n')
    there = ", ".join(components.names("entities"))
    with pytest.raises(UserError, match=f"entities.name = 'gpt': there are: {there}"):
        components.check(load(path), ("entities",))
