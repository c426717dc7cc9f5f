"""Takes a bundle apart: the resources that are read, each validated as FHIR R4, and which of them a reference means.

``fhir.resources`` validates the elements of a resource. It has no R4 of its own but R4B, in which these resources are the same.
Narratives and contained resources are not read, and an attachment's data is decoded here alone.
"""

import importlib
import importlib.util
import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from emerge_ehr.fields import UserError, printable

# the resources that are read; each is a module of fhir.resources, in lower case
READ = ("Patient", "Encounter", "Location", "Observation", "DocumentReference")
MOST_ENTRIES = 20_000
NOT_READ = ("text", "contained")  # narrative and resources inside a resource
INSTALL = "FHIR bundles need fhir.resources: pip install 'emerge-ehr[fhir]', or uv sync --extra fhir"
LONGEST_MESSAGE = 160  # characters of what is wrong: the library may list all that it would take
WEB = ("http://", "https://")
TIME_OF_DAY = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?P<seconds>:\d\d(\.\d+)?)?(?P<zone>Z|[+-]\d\d:\d\d)?")
# elements that a resource has in R5 and not in R4
NEWER = {
    "Encounter": {"actualPeriod", "plannedStartDate", "admission", "subjectStatus", "careTeam", "virtualService"},
    "Location": {"form", "virtualService", "characteristic"},
    "Observation": {"triggeredBy", "bodyStructure", "instantiatesCanonical", "instantiatesReference"},
    "DocumentReference": {"version", "event", "period", "attester", "modality", "bodySite", "facilityType"},
}


class NotInstalledError(UserError):
    """The library that validates is not there."""


@dataclass(frozen=True, eq=False)
class Resource:
    """A validated resource. ``name``: ``Observation/hr-1``, or its place in the bundle where it has no id."""

    kind: str
    name: str
    content: Mapping[str, Any]
    full_url: str = ""

    @property
    def server(self) -> str:
        """The address of the server that the resource is of; empty where its fullUrl is none of a server."""
        return self.full_url.rpartition(f"/{self.kind}/")[0] if self.full_url.startswith(WEB) else ""

    def mistake(self, element: str, what: str) -> UserError:
        """An error about one of its elements."""
        return UserError(f"{self.name}.{element}: {what}")


@dataclass
class Contents:
    """What a bundle holds. ``left_out``: how much of it is not read, by reason. ``warnings``: what else to tell."""

    timestamp: str | None
    of_kind: dict[str, list[Resource]]
    at: dict[str, Resource] = field(default_factory=dict)  # by fullUrl
    named: dict[tuple[str, str], Resource] = field(default_factory=dict)  # by server, and kind and id
    servers: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # of each kind and id
    left_out: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)

    def meant(self, reference: Mapping[str, Any] | None, said_by: Resource) -> Resource | None:
        """The resource of the bundle that an element of the type Reference means; None where it means none of them.

        A relative reference is of the server of the resource that has it, as R4 says of references in bundles. A resource
        without a server's address is also found by its kind and id alone.
        """
        text = (reference or {}).get("reference", "").partition("/_history/")[0]
        server = said_by.server
        if text.startswith(WEB) or text in self.at:
            found, name = self.at.get(text), "/".join(text.split("/")[-2:])
        else:
            found, name = self.at.get(f"{server}/{text}"), text
        if found is not None:
            return found
        if not server and not text.startswith(WEB) and len(self.servers.get(name, ())) == 1:
            return self.named[self.servers[name][0], name]
        return self.named.get(("", name)) if server or text.startswith(WEB) else None

    def identity(self, patient: Resource) -> str:
        """What a patient is called in an answer: the id, or the address where there is none or other servers have it too."""
        own = patient.content.get("id")
        alone = own and sum(one.content.get("id") == own for one in self.of_kind["Patient"]) == 1
        return str(own if alone else patient.full_url or own or patient.name)


def check_installed() -> None:
    """Refuse to go on without the library that validates.

    Raises:
        NotInstalledError: it is not there.
    """
    if importlib.util.find_spec("fhir") is None or importlib.util.find_spec("fhir.resources") is None:
        raise NotInstalledError(INSTALL)


def read(bundle: Mapping[str, Any]) -> Contents:
    """The resources of a bundle, as JSON gave it.

    Raises:
        UserError: it is not a bundle, or holds too much, or a resource does not fit R4; or the library is not installed.
    """
    check_installed()
    if (kind := bundle.get("resourceType")) != "Bundle":
        raise UserError(f"resourceType: '{str(kind)[:40]}' is not 'Bundle'; send the resources of a patient in one")
    entries = [] if bundle.get("entry") is None else bundle["entry"]
    if not isinstance(entries, list) or len(entries) > MOST_ENTRIES:
        raise UserError(f"Bundle.entry: not a list of at most {MOST_ENTRIES} entries; send fewer patients at a time")
    shell = _validated("Bundle", "Bundle", {key: value for key, value in bundle.items() if key != "entry"})
    if shell.get("type") == "history":
        raise UserError("Bundle.type: a 'history' holds earlier versions of its resources; send a 'collection'")
    contents = Contents(shell.get("timestamp"), {kind: [] for kind in READ})
    for number, entry in enumerate(entries):
        _add(contents, number, entry)
    if any(link.get("relation") == "next" for link in shell.get("link", [])):
        contents.warnings.append("the bundle has a link 'next': it is one page of several, and the others are missing")
    return contents


def _add(contents: Contents, number: int, entry: Any) -> None:
    """Add what an entry holds, if it is of a kind that is read, and is not there already."""
    where = f"Bundle.entry[{number}]"
    if isinstance(entry, dict) and entry.get("resource") is None and (entry.get("request") or entry.get("response")):
        contents.left_out["entries without a resource, such as a request DELETE"] += 1
        return
    resource = entry.get("resource") if isinstance(entry, dict) else None
    url = entry.get("fullUrl", "") if isinstance(entry, dict) else None
    kind = resource.get("resourceType") if isinstance(resource, dict) else None
    if not isinstance(url, str) or not isinstance(kind, str):
        raise UserError(
            f"{where}: not an entry with a resource; leave it out, or mend resource.resourceType and fullUrl"
        )
    if kind not in READ:
        contents.left_out["resources of other kinds"] += 1
        return
    assert isinstance(resource, dict)
    name = f"{kind}/{resource['id']}" if isinstance(resource.get("id"), str) else ""
    shown = name or f"{where} ({kind})"
    if kind == "Patient" and not name and resource.get("identifier"):
        name = f"Patient without an id: {json.dumps(resource, sort_keys=True)}"  # the same where all of it is
    url = url.partition("/_history/")[0]
    found = Resource(kind, shown, _validated(kind, shown, resource), url)
    if (other := _same(contents, found, name)) is not None:
        if other.content != found.content:
            raise UserError(
                f"{found.name}: stands twice, with different content ({where}); send the version that is valid"
            )
        contents.left_out[f"{kind}: stands twice"] += 1
        if url:
            contents.at[url] = other  # what names it by its other address means it too
        return
    if url:
        contents.at[url] = found
    if name:
        contents.named[found.server, name] = found
        contents.servers[name].append(found.server)
    contents.of_kind[kind].append(found)


def _same(contents: Contents, found: Resource, name: str) -> Resource | None:
    """The resource that is there already under the address or the name of another; of two servers, a name means two."""
    if found.full_url in contents.at:
        return contents.at[found.full_url]
    servers = contents.servers.get(name, [])
    fitting = [found.server, ""] if found.server else servers[:1]
    return next((contents.named[server, name] for server in fitting if (server, name) in contents.named), None)


@cache
def _model(kind: str) -> Any:
    return getattr(importlib.import_module(f"fhir.resources.R4B.{kind.lower()}"), kind)


def _validated(kind: str, name: str, resource: Mapping[str, Any]) -> dict[str, Any]:
    """What is read of a resource that fits R4, without nulls, which say nothing.

    Raises:
        UserError: it does not fit; the line names its first wrong element, and not what stands there.
    """
    from pydantic import ValidationError

    try:
        kept: dict[str, Any] = _without_nulls({key: value for key, value in resource.items() if key not in NOT_READ})
        _model(kind).model_validate(_without_data(kept) if kind == "DocumentReference" else kept)
    except RecursionError:
        raise UserError(f"{name}: nested too deeply") from None
    except (AttributeError, TypeError):  # the library's own check of a url takes it for text
        raise UserError(f"{name}: an element is of a wrong type, such as a url that is no text") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part[:40]}" for part in first["loc"])
        why = first["msg"].removeprefix("Value error, ")[:LONGEST_MESSAGE]
        if lacking := _lacking(first["input"]):
            why = f"a time of day without {lacking} is no time of R4; write it as 2150-03-01T13:30:00Z"
        elif newer := _newer(kind, resource):
            why = f"{why} ('{newer}' is as in FHIR R5; FHIR R4 is read, so convert the bundle)"
        raise UserError(printable(f"{name}{path}: {why}")) from None
    return kept


def _lacking(value: Any) -> str:
    """What a time of day lacks to be one of R4; empty where it is none, or lacks nothing of this.

    >>> _lacking("2150-03-01T13:30:00"), _lacking("2150-03-01T13:30"), _lacking("2150-03-01")
    ('a zone', 'seconds and a zone', '')
    """
    found = TIME_OF_DAY.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return ""
    return " and ".join(word for word, part in (("seconds", "seconds"), ("a zone", "zone")) if found[part] is None)


def _newer(kind: str, resource: Mapping[str, Any]) -> str:
    """The first element by which a resource is one of R5 rather than R4; empty where there is none."""
    lists = {"Encounter": "class", "DocumentReference": "context"}.get(kind, "")
    if isinstance(resource.get(lists), list):
        return lists
    return next((key for key in resource if key in NEWER.get(kind, ())), "")


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value if inner is not None] if isinstance(value, list) else value


def _without_data(document: Mapping[str, Any]) -> dict[str, Any]:
    """A DocumentReference without the data of its attachments, which may be long, and which ``documents`` decodes."""
    content = document.get("content")
    return {**document, "content": [_bare(part) for part in content] if isinstance(content, list) else content}


def _bare(part: Any) -> Any:
    attachment = part.get("attachment") if isinstance(part, dict) else None
    if not isinstance(attachment, dict) or not isinstance(attachment.get("data"), str):
        return part
    return {**part, "attachment": {key: value for key, value in attachment.items() if key != "data"}}
