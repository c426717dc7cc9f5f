"""Progress of long work where there is no terminal."""

import logging

import pytest

from emerge_ehr import progress


def test_off_a_terminal_progress_is_a_line_of_the_log_now_and_then(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SECONDS", 0.0)
    with caplog.at_level(logging.INFO):
        assert list(progress.bar(["a", "b", "c"], title="records", unit="sample", total=3)) == ["a", "b", "c"]
    assert any(message.startswith("records: 2 of 3 in 00:00, ") for message in caplog.messages)
    assert all(message.strip() for message in caplog.messages)


def test_what_is_soon_done_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        list(progress.bar(range(1000), title="records", unit="sample", total=1000))
    assert not caplog.messages
