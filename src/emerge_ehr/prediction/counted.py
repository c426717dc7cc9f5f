"""Counts and durations of requests, in the form that Prometheus reads."""

from collections.abc import Callable

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Counted:
    """What one service counts."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry = CollectorRegistry()
        self.requests = Counter(
            "emerge_requests", "Requests for predictions, by status", ["status"], registry=self.registry
        )
        self.patients = Counter("emerge_patients", "Patients predicted", registry=self.registry)
        self.seconds = Histogram(
            "emerge_request_seconds",
            "Seconds from a request's headers to its answer",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.waiting = Gauge("emerge_waiting_patients", "Patients that wait for the model", registry=self.registry)

    def watch(self, waiting: Callable[[], int]) -> None:
        """``waiting`` says how many patients wait."""
        self.waiting.set_function(waiting)

    def answered(self, status: int, seconds: float, patients: int) -> None:
        """Count a request."""
        self.requests.labels(str(status)).inc()
        self.seconds.observe(seconds)
        self.patients.inc(patients)

    def shown(self) -> tuple[bytes, int, dict[str, str]]:
        """Body, status and headers of the answer."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return generate_latest(self.registry), 200, {"Content-Type": CONTENT_TYPE_LATEST, "Cache-Control": "no-store"}
