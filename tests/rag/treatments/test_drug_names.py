"""Which drugs of a graph an order names: by names alone, because what is called alike is another drug."""

import pytest

from emerge_ehr.rag.treatments import drug_names
from emerge_ehr.rag.treatments.drug_names import DrugNames
from tests.rag.treatments.graphs import graph

KNOWN = (
    "Metoprolol",
    "Acetylsalicylic acid",
    "Acetaminophen",
    "Oxycodone",
    "Potassium chloride",
    "Potassium",
    "Magnesium sulfate",
    "Hydralazine",
    "Warfarin",
    "Hydromorphone",
    "Sulfamethoxazole",
    "Trimethoprim",
    "Tazobactam",
    "Insulin human",
    "Insulin glargine",
    "Hydrocortisone",
    "Valproic acid",
    "Prednisolone",
    "Prednisolone acetate",
)
NAMES = DrugNames({name.lower(): (n, name) for n, name in enumerate(KNOWN)})


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("Metoprolol Tartrate", ["metoprolol"]),
        ("Metoprolol Succinate XL 50 mg", ["metoprolol"]),
        ("Aspirin EC", ["acetylsalicylic acid"]),
        ("HYDROmorphone (Dilaudid)", ["hydromorphone"]),
        ("Coumadin (Warfarin)", ["warfarin"]),
        ("Hydrocortisone Na Succ.", ["hydrocortisone"]),
        ("Divalproex (DELayed Release)", ["valproic acid"]),
        ("Oxycodone-Acetaminophen (5mg-325mg)", ["oxycodone", "acetaminophen"]),
        ("Bactrim (SMX/TMP)", ["sulfamethoxazole", "trimethoprim"]),
        ("Insulin - Regular", ["insulin human"]),
        ("KCL (Bolus)", ["potassium chloride"]),
        ("Prednisolone Acetate", ["prednisolone acetate"]),  # the graph has the salt itself
    ],
)
def test_a_name_with_salt_form_strength_or_brand_is_the_drugs(written: str, expected: list[str]) -> None:
    found = NAMES.of(written)
    assert [one.name for one in found] == expected and all(one.node_index is not None for one in found)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("Hydralazin 25 mg", "hydralazine"),  # German
        ("Hydralazina", "hydralazine"),  # Spanish, Italian
        ("Warfarine", "warfarin"),  # French
        ("Metoprololum", "metoprolol"),  # Latin
        ("Paracétamol", "acetaminophen"),
        ("Paracetamolo", "acetaminophen"),
        ("Acetylsalicylsäure", "acetylsalicylic acid"),
        ("Acide acétylsalicylique", "acetylsalicylic acid"),
        ("Ácido acetilsalicílico", "acetylsalicylic acid"),
    ],
)
def test_a_name_in_another_language_is_the_drug_from_which_its_ending_and_accents_alone_differ(
    written: str, expected: str
) -> None:
    assert [one.name for one in NAMES.of(written)] == [expected]


@pytest.mark.parametrize(
    ("written", "drug"),
    [
        ("Lignocaine Hydrochloride 1%", "Lidocaine"),
        ("Suxamethonium Chloride 100 mg", "Succinylcholine"),
        ("Pethidine", "Meperidine"),
        ("Glyceryl Trinitrate 50 mg/50 mL", "Nitroglycerin"),
        ("Adalat 20 mg", "Nifedipine"),
        ("L-Dopa", "Levodopa"),
        ("FK506", "Tacrolimus"),
        ("Toradol", "Ketorolac"),
        ("Angiomax (Impella)", "Bivalirudin"),
    ],
)
def test_names_of_other_countries_and_brands_are_linked_where_a_public_source_states_them(
    written: str, drug: str
) -> None:
    names = DrugNames({drug.lower(): (1, drug), "scopolamine": (2, "Scopolamine")})
    assert [one.node_index for one in names.of(written)] == [1]
    for other in ("Hyoscine butylbromide", "Marcumar", "Taxotere"):
        assert [one.node_index for one in names.of(other)] == [None]


def test_an_ending_links_no_part_of_a_chemicals_name_and_nothing_that_two_drugs_would_fit() -> None:
    names = DrugNames(
        {"piperazine": (1, "Piperazine"), "example": (2, "Example"), "exampleb": (3, "x"), "exampl": (4, "x")}
    )
    for written in ("5-(4-Piperazin-1-yl)-furan", "4-piperazino-phenyl", "Exampla", "Warfar"):
        assert all(one.node_index is None for one in names.of(written)), written


@pytest.mark.parametrize(
    "written",
    [
        "Hydroxyzine",
        "HydrALAz",
        "HydrALAzinone",
        "Potassium Phosphate",
        "Insulin",
        "Metoclopramide",
        "Tartrate",
        "()",
        "5 mg",
        "-",
    ],
)
def test_a_name_that_only_resembles_a_drug_is_linked_to_none(written: str) -> None:
    assert all(one.node_index is None for one in NAMES.of(written))


@pytest.mark.parametrize(
    "written",
    [
        "Pre-metoprolol",
        "Nor-Warfarin",
        "Methyl-Prednisolone",
        "Hydroxy-warfarin",
        "Warfarin-specific antibody",
        "Hydro-Cortisone/Nor-warfarin",
    ],
)
def test_a_hyphen_within_a_name_does_not_make_another_drug_of_its_second_part(written: str) -> None:
    assert all(one.node_index is None for one in NAMES.of(written))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("Warfarin - dose per INR", ["warfarin"]),
        ("Piperacillin-Tazobactam Sodium", ["tazobactam"]),
        ("HYDROmorphone-HP", ["hydromorphone"]),
        ("Acetaminophen-Warfarin + Tazobactam", ["acetaminophen", "warfarin", "tazobactam"]),
        ("Hydrocortisone Sodium 25,000 units/250 mL D5W", ["hydrocortisone"]),
    ],
)
def test_the_drugs_of_a_combination_are_told_without_what_they_are_dissolved_in(
    written: str, expected: list[str]
) -> None:
    assert [one.name for one in NAMES.of(written) if one.node_index is not None] == expected
    assert "d5w" not in [one.name for one in NAMES.of(written)]


@pytest.mark.parametrize(
    "written",
    ["Warfarin (placebo)", "Warfarin (on hold)", "Allergic to warfarin", "Vancomycin trough level", "Placebo"],
)
def test_what_is_not_given_is_no_drug(written: str) -> None:
    assert not drug_names.is_drug(written)


def test_of_a_combination_the_part_that_the_graph_lacks_is_still_named() -> None:
    for written in ("Piperacillin-Tazobactam", "Piperacillin/Tazobactam (Zosyn)"):
        assert [(one.name, one.node_index is None) for one in NAMES.of(written)] == [
            ("piperacillin", True),
            ("tazobactam", False),
        ]


@pytest.mark.parametrize(
    "written",
    ["0.9% Sodium Chloride", "Iso-Osmotic Dextrose", "Sterile Water", "LR", "Bag", "PO Intake", "Jevity 1.2 (Full)"],
)
def test_carriers_feeds_and_containers_are_no_drugs(written: str) -> None:
    assert not drug_names.is_drug(written)


@pytest.mark.parametrize(
    "written", ["Sodium Bicarbonate 8.4%", "Potassium Chloride", "Sodium Polystyrene Sulfonate", "Solu-Medrol"]
)
def test_a_drug_that_begins_like_a_carrier_is_one(written: str) -> None:
    assert drug_names.is_drug(written)


@pytest.mark.parametrize(
    ("written", "route"),
    [
        ("Heparin Dwell (1000 Units/mL)", None),
        ("Lidocaine 5% Patch", "TD"),
        ("Tobramycin", "Left Eye"),
        ("Miconazole Powder 2%", "TP"),
    ],
)
def test_what_acts_where_it_is_put_is_not_looked_up(written: str, route: str | None) -> None:
    assert drug_names.is_local(written, route)


def test_a_patch_for_the_whole_body_and_a_powder_to_drink_are_looked_up() -> None:
    assert not drug_names.is_local("Nicotine Patch", "TD") and not drug_names.is_local(
        "Potassium Chloride (Powder)", "PO"
    )


def test_the_words_of_the_lists_have_one_meaning_each() -> None:
    aliases = drug_names._aliases()
    assert len(aliases) > 60 and all(drugs and all(drugs) for drugs in aliases.values())
    both = {kind: drug_names._words(kind) for kind in ("salt", "form", "cation", "of a name")}
    assert not both["form"] & (both["salt"] | both["cation"])


def test_only_nodes_of_the_type_drug_count() -> None:
    nodes = drug_names.build(graph()).nodes
    assert nodes == {
        "metoprolol": (100, "Metoprolol"),
        "heparin": (101, "Heparin"),
        "aspirin lysine": (103, "Aspirin lysine"),
    }


def test_names_in_other_letters_are_kept_and_endless_ones_are_cut() -> None:
    for written, name in (
        ("Métamizole 1 g", "métamizole"),
        ("Метопролол", "метопролол"),
        ("乙酰氨基酚", "乙酰氨基酚"),
    ):
        assert [one.name for one in NAMES.of(written)] == [name]
    assert [len(one.name) for one in NAMES.of("x" * 5000)] == [80]
