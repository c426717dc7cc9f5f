"""Decides whether records are credentialed, whether they may be sent to the endpoints, and who may read what is written.

Names prove nothing: records are open where ``convert`` read verified files of an open data set and nothing else, and the tables
are as it wrote them. All others are credentialed.
"""

import ipaddress
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from emerge_ehr import components
from emerge_ehr.config import Config
from emerge_ehr.datasets import sources
from emerge_ehr.fields import UserError, refuse_repeated
from emerge_ehr.storage import artefacts, table_files
from emerge_ehr.storage.schema import PROVENANCE

NOT_OPEN = "[source] names no open data set alone"
OWN_FIELDS = {"messages", "model", "temperature", "max_tokens", "response_format", "stream", "n"}


def uses_model(config: Config) -> bool:
    """Whether the config chooses an extractor or a summarizer that asks a language model."""
    chosen = {"entities": config.entities, "summary": config.summary}
    return any(components.needs(socket, plug, "llm") for socket, plug in chosen.items())


def credentialed(config: Config, made_of: Mapping[str, str] | None = None) -> bool:
    """Whether the records in the config's tables are credentialed: as the config says, else unless they are proven to be open.

    ``made_of``: the hashes of the files that some artefacts were made of, if those are what is asked about.
    """
    return bool(why_credentialed(config, made_of=made_of))


def why_credentialed(
    config: Config, stages: Collection[str] = (), *, made_of: Mapping[str, str] | None = None
) -> str | None:
    """Why the records count as credentialed; None if they are open.

    The source must be open by name; then the tables decide, as they are now, and the record of ``convert`` with them. ``stages``
    are those about to run: where they make the first tables, the raw files decide and, where they download these too, what will
    be downloaded. So before records go anywhere, this must be asked again without ``stages``.
    """
    if config.credentialed is not None:
        return "the config says credentialed = true" if config.credentialed else None
    try:
        there = table_files.all_files(config.table_dir)
        if not there and "convert" in stages:
            return _raw_files_unproven(config, will_download="download" in stages)
        if not sources.chosen(config).is_open():
            return NOT_OPEN
        return _tables_unproven(config.table_dir, there, made_of)
    except UserError as error:  # what cannot be read is not proven; whoever reads it says so again
        return str(error)


def _tables_unproven(folder: Path, there: Collection[Path], made_of: Mapping[str, str] | None) -> str | None:
    """Why the tables ``there`` in ``folder`` are not proven to be open; None if they are."""
    if not there:
        return f"{folder} holds no tables, whose record could show that they are open"
    record = folder / PROVENANCE
    if not record.is_file():
        return f"{folder} holds tables that --stage convert did not make"
    provenance = artefacts.read_json(record, "convert")
    written = provenance.get("tables") if isinstance(provenance, dict) else None
    if not isinstance(written, dict) or provenance.get("inputs_open") is not True:
        return (
            f"{record} does not say that they were made of verified files of an open data set alone; --stage download "
            "verifies the files, then --stage convert makes the tables again"
        )
    for path in there:
        if artefacts.checksum(path) != written.get(path.relative_to(folder).as_posix()):
            return f"{path} is not as --stage convert wrote it"
    if made_of is not None and not {*written.values()} <= {*made_of.values()}:
        return f"the artefacts were made of other tables than those in {folder}"
    return None


def _raw_files_unproven(config: Config, *, will_download: bool) -> str | None:
    """Why the raw files, of which tables are still to be made, are not proven to be open; None if they are."""
    source = sources.chosen(config)
    if not source.is_open():
        return NOT_OPEN
    try:
        inputs = source.inputs()
    except UserError as missing:
        if not will_download:
            return str(missing)
        inputs = [path for path in sorted(config.raw_dir.rglob("*.csv*")) if path.is_file() and path.suffix != ".part"]
    open_files = source.open_files()
    for path in inputs:
        if artefacts.checksum(path) not in open_files:
            return f"{path} is not a file that --stage download has verified; run that stage first"
    return None


@contextmanager
def owner_only(config: Config | None = None, stage: str = "") -> Iterator[None]:
    """A block in which new files and folders are readable for their owner only, unless the config's records are open.

    ``stage``: the stage that writes in the block. Without a config, the records are somebody's whom nobody vouches for.
    """
    before = os.umask(0o077)
    try:
        if config is not None and not _keeps_to_owner(config, stage):
            os.umask(before)
        yield
    finally:
        os.umask(before)


def _keeps_to_owner(config: Config, stage: str) -> bool:
    if config.credentialed is None and stage == "download":  # which verifies what it brings
        return not sources.chosen(config).is_open()
    if config.credentialed is None and stage == "convert":  # whose tables may replace others
        return _raw_files_unproven(config, will_download=False) is not None
    return credentialed(config)


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


def check(config: Config, stages: Collection[str] = ()) -> None:
    """Refuse a config that would send records to an endpoint they may not go to; every endpoint is checked.

    ``stages`` are those about to run, for a refusal before any work. Without them, as before records are sent, what counts is
    what the tables are now.

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
        _refuse_in_the_clear(config, url)
    if (far := remote(urls)) and not permitted and (why := why_kept_here(config, stages)):
        raise UserError(
            f"llm.api_base_url: {far[0].host} is another machine and dataset '{config.dataset}' is credentialed: its records "
            f"must not leave this one ({why}). Serve a model on 127.0.0.1; or, if your data use agreement allows it, set "
            "llm.allow_remote = true and say why in llm.remote_reason; or set credentialed = false if the data are open"
        )


def why_kept_here(config: Config, stages: Collection[str] = ()) -> str | None:
    """Why the records must not leave this machine in the course of ``stages``; None if they may.

    Only ``preprocess`` sends any. Before other stages, a config is refused for what it says of itself only.
    """
    if stages and "preprocess" not in stages:
        named = config.credentialed is False or (sources.chosen(config).is_open() and not config.credentialed)
        return None if named else NOT_OPEN
    return why_credentialed(config, stages)


def _refuse_in_the_clear(config: Config, url: httpx.URL) -> None:
    if url.scheme != "https" and not config.llm.allow_http:
        raise UserError(
            f"llm.api_base_url: {url.host} is another machine; notes go there by https only (llm.allow_http: docs/privacy.md)"
        )
