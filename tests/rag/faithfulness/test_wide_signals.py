"""Summaries of the wide list's signals: each template statement is supported by its evidence."""

from emerge_ehr.rag.faithfulness.notes_text import NotesText
from emerge_ehr.rag.faithfulness.signal_claims import claims, vocabulary
from emerge_ehr.rag.summaries.template import signal_text
from emerge_ehr.signals import signals
from emerge_ehr.signals.abnormal import AbnormalSignal

WIDE = signals.read("wide")


def test_the_sentence_of_every_signal_is_supported_by_it_and_leaves_no_word_unread() -> None:
    words = vocabulary(WIDE)
    for signal in WIDE:
        found = AbnormalSignal(signal.name, signal.label, "high", 3.5, signal.unit, 7, 2.7, 4)
        text = signal_text(found)
        told, rest = claims(text, text, [found], words, (), NotesText("", ()))
        assert told and not [claim for claim in told if claim.why], (text, told)
        assert set(signal.label.lower().split()).isdisjoint(rest.lower().split()), (text, rest)


def test_the_opposite_of_a_laboratory_value_is_not_supported() -> None:
    words = vocabulary(WIDE)
    found = AbnormalSignal("potassium", "potassium", "high", 6.1, "mEq/L", 7, 2.7, 4)
    told, _ = claims("Low potassium.", "Low potassium.", [found], words, (), NotesText("", ()))
    assert [claim.why for claim in told] == ["it was high"] and "low potassium" in words.values
    assert "high temperature" not in words.values  # the benchmark's are read as before
