"""The HTTP service of a run: POST /predict; GET /health, /ready, /version and /metrics; the API's description at /openapi.json
and, for people, at /docs.

Requests that wait are computed together (``turns``). Only their number and duration are logged, and no page fetches anything from
another server.
"""

import asyncio
import html
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from emerge_ehr.fields import UserError, listed, plural
from emerge_ehr.prediction import access, limits, requests
from emerge_ehr.prediction.counted import Counted
from emerge_ehr.prediction.fhir import contents, patients
from emerge_ehr.prediction.predictor import Predictor
from emerge_ehr.prediction.requests import Asked
from emerge_ehr.prediction.turns import MOST_WAITING, Turns
from emerge_ehr.storage import artefacts, schema

if TYPE_CHECKING:
    from fastapi import FastAPI, Request
    from fastapi.responses import Response

HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
PAGE_HEADERS = {**HEADERS, "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
AGAIN = {**HEADERS, "Retry-After": "1"}
JSON, FHIR_JSON = "application/json", "application/fhir+json"
GONE = 499  # what servers log of a client that did not wait; nobody reads the answer
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>EMERGE service</title><style>body{{font:1rem/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}
pre{{overflow:auto;background:#8881;padding:1rem}}:root{{color-scheme:light dark}}</style>
<h1>EMERGE service</h1><p>Run <code>{run}</code>, which predicts the risk of {outcomes}.
The full description is at <a href="openapi.json">openapi.json</a>.
<h2>POST /predict</h2><p>At most {patients} patients and {size} MiB. Windows of {hours} h. Codes and units: {signals}.
<pre>{example}</pre><p>Or a FHIR R4 Bundle (application/fhir+json): Patient, Encounter, Location, Observation, DocumentReference.
<p>Answers <code>{{"predictions": [...], "warnings": [...]}}</code>; 422 says what is wrong with a request.
With <code>?explain=true</code> it also says what each input and disease adds to the risk, which takes ten times as long.
<h2>GET /health, /ready, /version, /metrics</h2><p>Whether the service runs; whether it takes requests now; its model and code;
counts and durations for Prometheus.</html>"""

log = logging.getLogger(__name__)


@dataclass
class RefusedError(Exception):
    """Why a request is not answered. ``detail``: a line, or a list of mistakes with their places."""

    status: int
    detail: str | list[dict[str, Any]]
    headers: dict[str, str] = field(default_factory=lambda: HEADERS)


def build(run: Predictor, hosts: list[str], key: str | None = None) -> "FastAPI":
    """The FastAPI application.

    ``hosts``: the host names it answers to, so that no web page can reach it by another name; ``key``: what a request must bring
    to be answered (``access``); None where nothing is asked.
    """
    from fastapi import Request
    from fastapi.responses import HTMLResponse, JSONResponse, Response
    from starlette.exceptions import HTTPException

    app = _application(hosts, key)
    turns, counted, budget, page = Turns(run), Counted(), limits.Budget(), _page(run)
    version = artefacts.versions(["emerge-ehr"]) | {
        "run": str(run.trained.run_dir),
        "model": artefacts.checksum(run.trained.run_dir / schema.MANIFEST),
        "labels": run.trained.label_names,
    }
    counted.watch(lambda: turns.patients)

    @app.get("/health")
    async def health() -> JSONResponse:
        """That the service runs."""
        return JSONResponse({"status": "ok", "run": str(run.trained.run_dir), "labels": run.trained.label_names})

    @app.get("/ready")
    async def ready() -> JSONResponse:
        """Whether the service takes requests now: 503 while too many patients wait."""
        return JSONResponse({"waiting": turns.patients}, 503 if turns.full else 200, AGAIN if turns.full else HEADERS)

    @app.get("/version")
    async def versions() -> JSONResponse:
        """The version of the code, the run, the SHA-256 of its manifest, and what it predicts."""
        return JSONResponse(version, 200, HEADERS)

    @app.get("/metrics")
    async def metrics() -> Response:
        """Counts and durations, as Prometheus reads them."""
        return Response(*counted.shown())

    @app.post("/predict", openapi_extra=_described())
    async def predict(request: Request, explain: bool = False) -> Response:
        """The risks of new patients, in the order of the request; with ``explain``, also what they rest on."""
        began, status, patients = time.perf_counter(), 500, 0
        try:
            answer, patients = await _predict(request, turns, budget, explain=explain)
            status = answer.status_code
        except RefusedError as refused:
            answer, status = JSONResponse({"detail": refused.detail}, refused.status, refused.headers), refused.status
        except HTTPException as refused:  # of the framework, as for a body that is too large
            status = refused.status_code
            raise
        finally:
            counted.answered(status, time.perf_counter() - began, patients)
        return answer

    @app.get("/", include_in_schema=False)
    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page, 200, PAGE_HEADERS)

    return app


async def _predict(request: "Request", turns: Turns, budget: limits.Budget, *, explain: bool) -> tuple["Response", int]:
    """The answer to a request for predictions, and how many patients it names.

    Raises:
        RefusedError: the request is not answered.
    """
    from fastapi.concurrency import run_in_threadpool
    from fastapi.responses import JSONResponse, Response

    if turns.full:
        raise RefusedError(503, f"{MOST_WAITING} patients wait already; ask again", AGAIN)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in (JSON, FHIR_JSON):
        raise RefusedError(415, f"the body must be {JSON} or {FHIR_JSON}")
    length = limits.length(request.headers.get("content-length"))
    if not budget.take(length):
        raise RefusedError(503, "too many large requests at once; ask again", AGAIN)
    try:
        body = await _body(request)
        asked, bundle = await run_in_threadpool(_read, body, turns.run)
        del body
    finally:
        budget.give_back(length)
    waiting = turns.enter(asked, explain=explain)
    if not await _waited(request, waiting):
        return Response(status_code=GONE), 0
    try:
        predictions, warnings = waiting.result()
    except UserError as error:
        raise RefusedError(422, str(error)) from None
    log.info("%s answered", plural(len(predictions), "patient"))
    answer = {"predictions": predictions, "warnings": warnings}
    if bundle:
        answer |= {"warnings": [*bundle.warnings, *warnings], "fhir": bundle.record()}
    return JSONResponse(answer, 200, HEADERS), len(predictions)


async def _body(request: "Request") -> bytes:
    """The whole body, whose size the framework bounds."""
    from starlette.requests import ClientDisconnect

    try:
        async with asyncio.timeout(limits.BODY_SECONDS):
            return await request.body()
    except TimeoutError:
        closing = {**HEADERS, "Connection": "close"}
        raise RefusedError(408, f"no whole body in {limits.BODY_SECONDS:g} seconds", closing) from None
    except ClientDisconnect:
        raise RefusedError(GONE, "") from None


def _read(body: bytes, run: Predictor) -> tuple[Asked, patients.Read | None]:
    """The patients in a body, and, where it is a FHIR resource, what there is to tell of it."""
    from pydantic import ValidationError

    try:
        sent = requests.parsed(body)
        if not isinstance(sent, dict) or "resourceType" not in sent:
            return Asked.model_validate(sent), None
        found = patients.read(sent, run.expected)
        return Asked.model_construct(patients=found.patients), found
    except contents.NotInstalledError as error:
        raise RefusedError(501, str(error)) from None
    except UserError as error:
        raise RefusedError(422, str(error)) from None
    except ValidationError as error:
        raise RefusedError(422, _mistakes(error.errors(), "body")) from None


def _mistakes(errors: Sequence[Any], *within: str) -> list[dict[str, Any]]:
    """Where and why, without what was sent: that may not be a JSON value, or may be a whole note."""
    return [{"loc": [*within, *one["loc"]], "msg": one["msg"]} for one in errors[:20]]


async def _waited(request: "Request", waiting: asyncio.Future[Any]) -> bool:
    """Wait for the result, or until the client has gone, in which case it is cancelled. Returns whether there is a result."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    leaving = asyncio.ensure_future(gone())
    try:
        await asyncio.wait({waiting, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return waiting.done() or not waiting.cancel()
    finally:
        leaving.cancel()


def _described() -> dict[str, Any]:
    """The body of /predict for /openapi.json; the service reads it by itself, so that its size is bounded first."""
    return {
        "requestBody": {
            "required": True,
            "content": {
                JSON: {"schema": {"$ref": "#/components/schemas/Asked"}},
                FHIR_JSON: {"schema": {"type": "object", "description": "a Bundle of FHIR R4 (docs/fhir.md)"}},
            },
        }
    }


def _application(hosts: list[str], key: str | None) -> "FastAPI":
    """The application without routes: which hosts it answers to, what it asks for, and how it answers what it refuses."""
    from fastapi import FastAPI, Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.openapi.utils import get_openapi
    from fastapi.responses import JSONResponse
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    app = FastAPI(
        title="EMERGE",
        version="1",
        docs_url=None,
        redoc_url=None,
        max_body_size=limits.LARGEST,
        # where OpenTelemetry is set up, the text of errors would reach it, and with that text parts of the request
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
        },
    )
    if key is not None:
        app.add_middleware(access.Door, key=key)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"detail": _mistakes(error.errors())}, 422, HEADERS)

    def description() -> dict[str, Any]:
        if not app.openapi_schema:
            shape = Asked.model_json_schema(ref_template="#/components/schemas/{model}")
            made = get_openapi(title=app.title, version=app.version, routes=app.routes)
            made.setdefault("components", {}).setdefault("schemas", {}).update(shape.pop("$defs") | {"Asked": shape})
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = description  # type: ignore[method-assign]
    return app


def _page(run: Predictor) -> str:
    wanted = run.expected
    hours = f"{wanted.shortest}" if wanted.shortest == wanted.longest else f"{wanted.shortest} to {wanted.longest}"
    signals = ", ".join(f"{signal.name} ({signal.unit})" if signal.unit else signal.name for signal in wanted.signals)
    filled = {
        "run": str(run.trained.run_dir),
        "outcomes": listed([outcome.title for outcome in run.outcomes]),
        "patients": str(requests.MOST_PATIENTS),
        "size": str(limits.LARGEST // 2**20),
        "hours": hours,
        "signals": signals,
        "example": json.dumps(requests.example(wanted), indent=1),
    }
    return PAGE.format(**{name: html.escape(value) for name, value in filled.items()})
