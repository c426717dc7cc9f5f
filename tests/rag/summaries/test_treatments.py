"""What a language model is shown of treatments, and may cite."""

from dataclasses import replace

from emerge_ehr.rag.summaries import OfContraindications, OfTreatments, _published
from emerge_ehr.rag.summaries.openai_compatible import numbered
from emerge_ehr.rag.treatments import Contraindication, Given
from tests.rag.summaries.test_summaries import evidence

GIVEN = (Given("heparin", 101, "infusion", 3, ("Heparin",)), Given("senna", None, "prescription", 7, ("Senna",)))


def test_a_model_is_shown_what_was_given_and_what_is_against_it_in_the_diseases_that_it_is_shown() -> None:
    plain = evidence()
    node = plain.links[0].node_index
    against = (
        Contraindication("heparin", 101, "infusion", node, plain.links[0].name),
        Contraindication("heparin", 101, "infusion", 99, "a disease without a place"),
    )
    treated = replace(plain, treatments=GIVEN, contraindications=against)
    lines, items = numbered(treated, "first 48 h", 300)
    before, known = numbered(plain, "first 48 h", 300)
    assert lines[: len(before)] == before and known.items() <= items.items()
    assert lines[len(before) :] == [
        "R1. infused: heparin, from hour 3",
        "R2. prescribed: senna, from hour 7",
        f"C1. heparin, infused, is contraindicated in {plain.links[0].name} by the knowledge graph",
    ]
    assert items["R2"] == OfTreatments("prescription", ("senna",))
    assert items["C1"] == OfContraindications(node, "infusion", ("heparin",), (101,))
    shown = _published.shown(treated, 300)
    assert shown.startswith(_published.shown(plain, 300))
    assert shown.endswith(
        "[Treatments]\nheparin (infused), senna (prescribed)\n\n"
        f"[Contraindications of the treatments]\n(heparin, contraindication, {plain.links[0].name})"
    )
