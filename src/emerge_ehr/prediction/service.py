"""The HTTP service of a run: POST /predict, GET /health, the API's description at /openapi.json and, for people, at /docs.

Requests are computed one at a time: the model uses all cores already, and graph and auditor share what they have looked up.
Only the size and duration of a request are logged, and no page fetches anything from another server.
"""

import html
import json
import logging
import time
from threading import Lock
from typing import TYPE_CHECKING

from emerge_ehr.fields import UserError, listed
from emerge_ehr.prediction import answers, requests
from emerge_ehr.prediction.predictor import Predictor
from emerge_ehr.prediction.requests import Asked

if TYPE_CHECKING:
    from fastapi import FastAPI

LARGEST = 16 * 2**20  # bytes of a body
HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
PAGE_HEADERS = {**HEADERS, "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>EMERGE service</title><style>body{{font:1rem/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}
pre{{overflow:auto;background:#8881;padding:1rem}}:root{{color-scheme:light dark}}</style>
<h1>EMERGE service</h1><p>Run <code>{run}</code>, which predicts the risk of {outcomes}.
The full description is at <a href="openapi.json">openapi.json</a>.
<h2>POST /predict</h2><p>At most {patients} patients and {size} MiB. Windows of {hours} h. Codes and units: {signals}.
<pre>{example}</pre><p>Answers <code>{{"predictions": [...], "warnings": [...]}}</code>; 422 says what is wrong with a request.
<h2>GET /health</h2><p>Answers while predictions are being computed too.</html>"""

log = logging.getLogger(__name__)


def build(run: Predictor, hosts: list[str]) -> "FastAPI":
    """The FastAPI application. ``hosts``: the host names it answers to, so that no web page can reach it by another name."""
    from fastapi.responses import HTMLResponse, JSONResponse

    app = _application(hosts)
    turn = Lock()
    page = _page(run)

    @app.get("/health")
    async def health() -> JSONResponse:
        """That the service answers, and what it predicts."""
        return JSONResponse({"status": "ok", "run": str(run.trained.run_dir), "labels": run.trained.label_names})

    @app.post("/predict")
    def predict(asked: Asked) -> JSONResponse:
        """The risks of new patients, and what they rest on; in the order of the request."""
        with turn:
            began = time.perf_counter()
            tables = requests.tables(asked, run.expected)
            answer_by_patient = {answer.patient_id: answers.as_json(answer, run) for answer in run.answers(tables)}
            log.info("%d patients in %.2f s", len(answer_by_patient), time.perf_counter() - began)
        ordered = [answer_by_patient[patient.patient_id] for patient in asked.patients]
        return JSONResponse({"predictions": ordered, "warnings": tables.warnings}, 200, HEADERS)

    @app.get("/", include_in_schema=False)
    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page, 200, PAGE_HEADERS)

    return app


def _application(hosts: list[str]) -> "FastAPI":
    """The application without routes: which hosts it answers to, and how it answers requests that it refuses."""
    from fastapi import FastAPI, Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    app = FastAPI(
        title="EMERGE",
        version="1",
        docs_url=None,
        redoc_url=None,
        max_body_size=LARGEST,
        # where OpenTelemetry is set up, the text of errors would reach it, and with that text parts of the request
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
        },
    )
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        """Say where and why, without what was sent: that may not be a JSON value, or may be a whole note."""
        mistakes = [{"loc": list(mistake["loc"]), "msg": mistake["msg"]} for mistake in error.errors()[:20]]
        return JSONResponse({"detail": mistakes}, 422, HEADERS)

    @app.exception_handler(UserError)
    async def refused(request: Request, error: UserError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 422, HEADERS)

    return app


def _page(run: Predictor) -> str:
    wanted = run.expected
    hours = f"{wanted.shortest}" if wanted.shortest == wanted.longest else f"{wanted.shortest} to {wanted.longest}"
    signals = ", ".join(f"{signal.name} ({signal.unit})" if signal.unit else signal.name for signal in wanted.signals)
    filled = {
        "run": str(run.trained.run_dir),
        "outcomes": listed([outcome.title for outcome in run.outcomes]),
        "patients": str(requests.MOST_PATIENTS),
        "size": str(LARGEST // 2**20),
        "hours": hours,
        "signals": signals,
        "example": json.dumps(requests.example(wanted), indent=1),
    }
    return PAGE.format(**{name: html.escape(value) for name, value in filled.items()})
