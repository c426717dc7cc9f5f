"""Two hospitals in MIMIC-IV's layout, the other generated with another seed."""

from pathlib import Path

from tests.datasets.sources.examples import mimic4

OPTIONS = {
    "sites": {
        "north": {"source": "mimic4", "raw_dir": "north"},
        "south": {"source": {"name": "synthetic", "stays": 60}, "raw_dir": "south", "seed": 9},
    }
}


def raw_files(raw_dir: Path) -> None:
    mimic4.raw_files(raw_dir / "north")
    from emerge_ehr.config import Download
    from emerge_ehr.datasets.sources.synthetic import Options, build

    build(Options(stays=60), raw_dir=raw_dir / "south", kg_dir=raw_dir.parent / "kg", seed=9).download(
        Download(), offline=True
    )


def change_after_window(raw_dir: Path) -> None:
    mimic4.change_after_window(raw_dir / "north")
