"""Runs that somebody has changed together with their records, so that only what is in the files can give them away."""

from pathlib import Path

from emerge_ehr.storage import artefacts, schema


def record_files(run_dir: Path) -> None:
    """Write the checksums of the run's files, as they are, into its manifest."""
    path = run_dir / "manifest.json"
    manifest = artefacts.read_json(path, "train")
    names = [name for name in artefacts.checksums(run_dir) if name not in ("manifest.json", schema.REPORT)]
    files = {name: artefacts.checksum(run_dir / name) for name in names}
    artefacts.write_json(path, {**manifest, "files": files})
