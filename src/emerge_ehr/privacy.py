"""Decides whether records may be sent to the endpoints, from the config alone and before any work."""

import ipaddress
from collections.abc import Iterable

import httpx

from emerge_ehr import components
from emerge_ehr.config import Config
from emerge_ehr.datasets import sources
from emerge_ehr.fields import UserError, refuse_repeated
from emerge_ehr.storage.schema import LABEL, PROVENANCE

OWN_FIELDS = {"messages", "model", "temperature", "max_tokens", "response_format", "stream", "n"}


def uses_model(config: Config) -> bool:
    """Whether the config chooses an extractor or a summarizer that asks a language model."""
    chosen = {"entities": config.entities, "summary": config.summary}
    return any(components.needs(socket, plug, "llm") for socket, plug in chosen.items())


def credentialed(config: Config) -> bool:
    """Whether the records are credentialed: as the config says, else true unless the source is open and ``convert`` wrote
    the tables into their usual folder."""
    if config.credentialed is not None:
        return config.credentialed
    by_hand = (config.table_dir / LABEL.file).is_file() and not (config.table_dir / PROVENANCE).is_file()
    return by_hand or config.paths.table_dir is not None or not sources.chosen(config).is_open()


def is_loopback(host: str) -> bool:
    """Whether the host is this machine: a loopback address or the name ``localhost``. No name is looked up.

    >>> [is_loopback(host) for host in ("localhost", "127.3.0.1", "::1", "127.0.0.1.example.org", "10.0.0.1")]
    [True, True, True, False, False]
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def endpoints(config: Config) -> tuple[httpx.URL, ...]:
    """The URLs in ``llm.api_base_url``, in the config's order.

    Raises:
        UserError: one is not an http(s) URL, carries a password or a query, or occurs twice.
    """
    addresses = config.llm.api_base_url
    texts = (addresses,) if isinstance(addresses, str) else addresses
    urls = tuple(_url(text, _where(n, len(texts))) for n, text in enumerate(texts, 1))
    refuse_repeated([str(url).rstrip("/") for url in urls], "llm.api_base_url")
    return urls


def _where(n: int, count: int) -> str:
    return "llm.api_base_url" if count == 1 else f"llm.api_base_url, number {n}"


def _url(text: str, where: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        raise UserError(f"{where} is not a URL, such as https://api.deepseek.com") from None
    if url.userinfo or url.query or url.fragment:
        raise UserError(
            f"{where} holds a user name, a query or a fragment; the key belongs in the variable that llm.api_key_env names"
        )
    if not (url.port is None or 0 < url.port < 65536):
        raise UserError(f"{where} = '{text}': no such port; a port lies between 1 and 65535")
    if url.scheme not in ("http", "https") or not url.host:
        raise UserError(f"{where} = '{text}': expected http(s)://host/path")
    return url


def remote(urls: Iterable[httpx.URL]) -> list[httpx.URL]:
    """The URLs that are on other machines."""
    return [url for url in urls if not is_loopback(url.host)]


def check(config: Config) -> None:
    """Refuse a config that would send records to an endpoint they may not go to; every endpoint is checked.

    Raises:
        UserError: records are credentialed and an endpoint is on another machine, without permission and a reason; an endpoint on
            another machine is not encrypted, and the config does not allow that; the cost has a bound but no prices; extra
            fields repeat what the request sets itself.
    """
    if not uses_model(config):
        return
    urls, llm = endpoints(config), config.llm
    reserved = sorted(OWN_FIELDS & llm.extra_body.keys())
    if reserved:
        raise UserError(f"llm.extra_body holds '{reserved[0]}', which the request sets itself; use the keys of [llm]")
    if llm.max_cost and not (llm.price_input or llm.price_output):
        raise UserError("llm.max_cost bounds nothing without llm.price_input and llm.price_output")
    permitted = llm.allow_remote and bool(llm.remote_reason.strip())
    if llm.allow_http and not permitted:
        raise UserError(
            "llm.allow_http sends records to other machines unencrypted: it needs llm.allow_remote = true, and why in "
            "llm.remote_reason"
        )
    for url in remote(urls):
        _check_remote(config, url, permitted)


def _check_remote(config: Config, url: httpx.URL, leave: bool) -> None:
    if url.scheme != "https" and not config.llm.allow_http:
        raise UserError(
            f"llm.api_base_url: {url.host} is another machine; notes go there by https only (llm.allow_http: docs/llm.md)"
        )
    if not leave and credentialed(config):
        raise UserError(
            f"llm.api_base_url: {url.host} is another machine and dataset '{config.dataset}' is credentialed: its records "
            "must not leave this one (a demo counts as open where --stage download brought it and nothing was added). "
            "Serve a model on 127.0.0.1; or, if your data use agreement allows it, set "
            "llm.allow_remote = true and say why in llm.remote_reason; or set credentialed = false if the data are open"
        )
