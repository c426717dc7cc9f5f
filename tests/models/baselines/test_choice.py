"""How a config names a baseline."""

from pathlib import Path

import pytest

from emerge_ehr import components
from emerge_ehr.config import Config, load
from emerge_ehr.fields import Component, UserError

LEAST = 'dataset = "d"\nrun_name = "r"\n{}\n[paths]\nraw_dir = "raw"\n[source]\nname = "tables"\n{}'


def read(folder: Path, top: str = "", below: str = "") -> Config:
    path = folder / "config.toml"
    path.write_text(LEAST.format(top, below))
    return load(path)


def test_without_one_there_is_no_baseline_and_nothing_to_check(tmp_path: Path) -> None:
    config = read(tmp_path)
    assert config.baseline is None
    components.check(config, ("baseline",))


def test_a_baseline_is_a_name_or_a_section_with_the_plugs_options(tmp_path: Path) -> None:
    assert read(tmp_path, 'baseline = "gru_d"').baseline == Component("gru_d")
    config = read(tmp_path, below='[baseline]\nname = "m3care"\ntexts = ["note", "summary"]\n')
    components.check(config, ("baseline",))
    assert config.baseline is not None
    assert components.options("baseline", config.baseline).texts == ("note", "summary")


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ('name = "grud"', f"there are: {', '.join(components.names('baseline'))}"),
        ('name = "tcn"\nlevel = 3', "did you mean 'levels'"),
        ('name = "m3care"\ntexts = []', "texts"),
        ("hidden_size = 3", "key 'baseline.name' is missing"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, section: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        components.check(read(tmp_path, below=f"[baseline]\n{section}\n"), ("baseline",))
