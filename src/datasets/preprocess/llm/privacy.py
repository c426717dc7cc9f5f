"""Whether records may go to the endpoint: decided from the config alone, before any work."""

import ipaddress

import httpx

from src.config import Config
from src.fields import UserError

BACKEND = "openai_compatible"
# Open to everyone, without a data use agreement: PhysioNet's demos, and what the generator makes up.
OPEN_PROJECTS = ("mimic-iv-demo", "mimiciii-demo", "eicu-crd-demo")
OPEN_SOURCES = ("synthetic",)


def uses_model(config: Config) -> bool:
    """Whether any backend is a language model."""
    return BACKEND in (config.entities.name, config.summary.name)


def credentialed(config: Config) -> bool:
    """What the config says; else true unless the source is open and nothing was put beside it by hand (notes, tables)."""
    if config.credentialed is not None:
        return config.credentialed
    options = config.source.options
    open_source = config.source.name in OPEN_SOURCES or options.get("project") in OPEN_PROJECTS
    return not open_source or bool(options.get("notes_file")) or config.paths.table_dir is not None


def is_loopback(host: str) -> bool:
    """Whether the host is this machine, read literally: no name but ``localhost`` is looked up.

    >>> [is_loopback(host) for host in ("localhost", "127.3.0.1", "::1", "127.0.0.1.example.org", "10.0.0.1")]
    [True, True, True, False, False]
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def endpoint(config: Config) -> httpx.URL:
    """``llm.api_base_url``.

    Raises:
        UserError: it is no http(s) URL, or carries a password or a query.
    """
    try:
        url = httpx.URL(config.llm.api_base_url)
    except httpx.InvalidURL:
        raise UserError("llm.api_base_url is not a URL, such as https://api.deepseek.com") from None
    if url.userinfo or url.query or url.fragment:
        raise UserError(
            "llm.api_base_url holds a user name, a query or a fragment; the key belongs into llm.api_key_env's variable"
        )
    if url.scheme not in ("http", "https") or not url.host:
        raise UserError(f"llm.api_base_url = '{config.llm.api_base_url}': expected http(s)://host/path")
    return url


def check(config: Config) -> None:
    """Refuse a config whose records may not go where it sends them.

    Raises:
        UserError: credentialed records and an endpoint on another machine without leave and reason; a remote endpoint without
            encryption; a bound on the cost without prices.
    """
    if not uses_model(config):
        return
    url, llm = endpoint(config), config.llm
    if llm.max_cost and not (llm.price_input or llm.price_output):
        raise UserError("llm.max_cost bounds nothing without llm.price_input and llm.price_output")
    if is_loopback(url.host):
        return
    if url.scheme != "https":
        raise UserError(f"llm.api_base_url: {url.host} is another machine; notes go there by https only")
    if credentialed(config) and not (llm.allow_remote and llm.remote_reason.strip()):
        raise UserError(
            f"llm.api_base_url: {url.host} is another machine and dataset '{config.dataset}' is credentialed: its records "
            "must not leave this one. Serve a model on 127.0.0.1; or, if your data use agreement allows it, set "
            "llm.allow_remote = true and say why in llm.remote_reason; or set credentialed = false if the data are open"
        )
