"""What may go wrong with a request to an endpoint, by what follows from it."""

from emerge_ehr.llm.refusals import Refusal


class RefusedError(Exception):
    """The endpoint refuses this request, and would again."""


class TooLongError(RefusedError):
    """Question and answer do not fit the model's context."""


class BrokenError(Exception):
    """Something went wrong on the way; another attempt may succeed."""


class StrainedError(BrokenError):
    """The endpoint could not answer in time, or was overloaded: it may bear fewer requests at once."""


class EndpointUnreachableError(BrokenError):
    """No connection could be made."""


class EndpointBusyError(Exception):
    """The endpoint asks to come later, after ``pause`` seconds if it says so."""

    def __init__(self, status: int, pause: float | None) -> None:
        super().__init__(f"HTTP {status}")
        self.pause = pause


class SaidNoError(Exception):
    """The endpoint answered with an error, of which is not known yet what it means."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"HTTP {refusal.status}")
        self.refusal = refusal
