"""Writes ``kg.csv`` and ``disease_features.csv`` of PrimeKG's official size and shape, with invented names and edges.

    python benchmarks/primekg_files.py --output data/benchmark/primekg

There are 8,100,498 rows and 129,375 nodes of 10 types, and every edge is in both directions. Rows by relation and nodes by
type are as published (Chandak et al. 2023, doi 10.1038/s41597-023-01960-3). Ends of edges are drawn with a heavy tail, so that
there are hubs.
"""

import argparse
from pathlib import Path

import numpy as np
import polars as pl

# type -> number of nodes, source, words per name
NODES = {
    "gene/protein": (27_671, "NCBI", 1),
    "drug": (7_957, "DrugBank", 1),
    "effect/phenotype": (15_311, "HPO", 4),
    "disease": (17_080, "MONDO", 4),
    "biological process": (28_642, "GO", 6),
    "molecular function": (11_169, "GO", 5),
    "cellular component": (4_176, "GO", 3),
    "exposure": (818, "CTD", 2),
    "pathway": (2_516, "REACTOME", 5),
    "anatomy": (14_035, "UBERON", 3),
}
# relation, its displayed name, types of the two ends, rows in both directions together
RELATIONS = (
    ("protein_protein", "ppi", "gene/protein", "gene/protein", 642_150),
    ("drug_protein", "target", "drug", "gene/protein", 51_306),
    ("contraindication", "contraindication", "drug", "disease", 61_350),
    ("indication", "indication", "drug", "disease", 18_776),
    ("off-label use", "off-label use", "drug", "disease", 5_136),
    ("drug_drug", "synergistic interaction", "drug", "drug", 2_672_628),
    ("phenotype_protein", "associated with", "effect/phenotype", "gene/protein", 6_660),
    ("phenotype_phenotype", "parent-child", "effect/phenotype", "effect/phenotype", 37_472),
    ("disease_phenotype_negative", "phenotype absent", "disease", "effect/phenotype", 2_386),
    ("disease_phenotype_positive", "phenotype present", "disease", "effect/phenotype", 300_634),
    ("disease_protein", "associated with", "disease", "gene/protein", 160_822),
    ("disease_disease", "parent-child", "disease", "disease", 64_388),
    ("drug_effect", "side effect", "drug", "effect/phenotype", 129_568),
    ("bioprocess_bioprocess", "parent-child", "biological process", "biological process", 105_772),
    ("molfunc_molfunc", "parent-child", "molecular function", "molecular function", 27_148),
    ("cellcomp_cellcomp", "parent-child", "cellular component", "cellular component", 9_690),
    ("molfunc_protein", "interacts with", "molecular function", "gene/protein", 139_060),
    ("cellcomp_protein", "interacts with", "cellular component", "gene/protein", 166_804),
    ("bioprocess_protein", "interacts with", "biological process", "gene/protein", 289_610),
    ("exposure_protein", "interacts with", "exposure", "gene/protein", 2_424),
    ("exposure_disease", "linked to", "exposure", "disease", 4_608),
    ("exposure_exposure", "parent-child", "exposure", "exposure", 4_140),
    ("exposure_bioprocess", "interacts with", "exposure", "biological process", 3_250),
    ("exposure_molfunc", "interacts with", "exposure", "molecular function", 90),
    ("exposure_cellcomp", "interacts with", "exposure", "cellular component", 20),
    ("anatomy_anatomy", "parent-child", "anatomy", "anatomy", 28_064),
    ("pathway_pathway", "parent-child", "pathway", "pathway", 5_070),
    ("pathway_protein", "interacts with", "pathway", "gene/protein", 85_292),
    ("anatomy_protein_present", "expression present", "anatomy", "gene/protein", 3_036_406),
    ("anatomy_protein_absent", "expression absent", "anatomy", "gene/protein", 39_774),
)
FEATURE_ROWS = 44_133
TEXTS = {  # column -> share of rows that have it, words
    "mondo_definition": (0.75, 25),
    "umls_description": (0.45, 45),
    "orphanet_definition": (0.35, 40),
    "orphanet_prevalence": (0.25, 12),
    "orphanet_epidemiology": (0.2, 30),
    "orphanet_clinical_description": (0.2, 120),
    "orphanet_management_and_treatment": (0.12, 90),
    "mayo_symptoms": (0.12, 120),
    "mayo_causes": (0.12, 120),
    "mayo_risk_factors": (0.12, 80),
    "mayo_complications": (0.1, 80),
    "mayo_prevention": (0.08, 80),
    "mayo_see_doc": (0.1, 60),
}
SYLLABLES = (
    *("car", "di", "o", "my", "pa", "thy", "ne", "phro", "he", "pa", "ti", "tis", "syn", "dro", "me", "in"),
    *("su", "fi", "cien", "cy", "fa", "mi", "li", "al", "ar", "te", "ri", "o", "scle", "ro", "sis"),
)
BLOCK = 500_000


def words(rng: np.random.Generator, count: int) -> list[str]:
    """Invented words of one to three syllables."""
    lengths = rng.integers(1, 4, count)
    picks = rng.integers(len(SYLLABLES), size=(count, 4))
    return ["".join(SYLLABLES[i] for i in row[:n]) for row, n in zip(picks.tolist(), lengths.tolist(), strict=True)]


def nodes(rng: np.random.Generator) -> dict[str, pl.DataFrame]:
    """The nodes of each type; every tenth disease is a group, whose id joins the ids of its members."""
    vocabulary = words(rng, 4000)
    tables, first = {}, 0
    for kind, (count, source, size) in NODES.items():
        picks = rng.integers(len(vocabulary), size=(count, size)).tolist()
        names = [f"{' '.join(vocabulary[i] for i in row)} {n}" for n, row in enumerate(picks)]
        ids = [f"DB{n:05d}" if kind == "drug" else str(n) for n in range(count)]
        if kind == "disease":
            members = rng.integers(10_000, 50_000, size=(count, 6)).tolist()
            ids = ["_".join(map(str, row)) if n % 10 == 0 else ids[n] for n, row in enumerate(members)]
            names = [f"{name} (disease)" if n % 7 == 0 else name for n, name in enumerate(names)]
        index = np.arange(first, first + count)
        tables[kind] = pl.DataFrame({"index": index, "id": ids, "type": kind, "name": names, "source": source})
        first += count
    return tables


def write_edges(path: Path, rng: np.random.Generator, tables: dict[str, pl.DataFrame]) -> None:
    """Write every edge as two rows, one per direction."""
    with path.open("wb") as file:
        for number, (relation, shown, left, right, rows) in enumerate(RELATIONS):
            for start in range(0, rows // 2, BLOCK):
                count = min(BLOCK, rows // 2 - start)
                ends = [tables[kind][ends_of_edges(rng, NODES[kind][0], count)] for kind in (left, right)]
                kind_of_edge = pl.select(pl.lit(relation).alias("relation"), pl.lit(shown).alias("display_relation"))
                both = []
                for x, y in (ends, ends[::-1]):
                    named = [
                        side.rename({column: f"{s}_{column}" for column in side.columns})
                        for s, side in (("x", x), ("y", y))
                    ]
                    both.append(pl.concat([kind_of_edge[np.zeros(count, dtype=int)], *named], how="horizontal"))
                pl.concat(both).write_csv(file, include_header=number == 0 and start == 0)


def ends_of_edges(rng: np.random.Generator, size: int, count: int) -> np.ndarray:
    """Draw rows with a heavy tail: a few hubs, many nodes with few edges."""
    return (size * rng.random(count) ** 2.2).astype(np.int64)


def write_features(path: Path, rng: np.random.Generator, diseases: pl.DataFrame) -> None:
    """Write several rows for some diseases and none for a few, with quotes, commas and line ends in texts, and empty fields."""
    vocabulary = np.array([*words(rng, 3000), "with, rarely,", '"so-called"', "and\nthen"])
    row_of = np.sort(rng.integers(diseases.height - 200, size=FEATURE_ROWS))
    rows = diseases[row_of]
    number = pl.int_range(FEATURE_ROWS)
    columns = {}
    for name, (share, size) in TEXTS.items():
        texts = [" ".join(row) for row in vocabulary[rng.integers(len(vocabulary), size=(3000, size))].tolist()]
        picks = rng.integers(len(texts), size=FEATURE_ROWS)
        columns[name] = pl.when(pl.Series(rng.random(FEATURE_ROWS) < share)).then(pl.Series(texts)[picks]).alias(name)
    grouped = pl.col("id").str.contains("_")
    rows.select(
        pl.col("index").alias("node_index"),
        (10_000 + number % 22_205).alias("mondo_id"),
        pl.format("{} type {}", "name", number % 5).alias("mondo_name"),
        pl.when(grouped).then("id").alias("group_id_bert"),
        pl.when(grouped).then("name").alias("group_name_bert"),
        *columns.values(),
    ).write_csv(path)


def generate(folder: Path, seed: int = 42) -> None:
    """Write both files; the same seed gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    tables = nodes(rng)
    write_features(folder / "disease_features.csv", rng, tables["disease"])
    write_edges(folder / "kg.csv", rng, tables)


def main() -> None:
    """Write the files into the folder that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    generate(parser.parse_args().output)


if __name__ == "__main__":
    main()
