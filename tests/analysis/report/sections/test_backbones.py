import pandas as pd
import pytest

from analysis.report.document import Table
from analysis.report.sections.backbones import backbones_section, best_per_strategy, describe_probes, read_probes
from analysis.schema import PROBE_COLUMNS
from tests.analysis.studies import study_of

EVIL = "<script>\u202e"


def row(name: str, value: float) -> str:
    return f"{name},64,1000,{value - 0.1},{value},{value - 0.04},{value + 0.04},0.1,3.5,0.4\n"


@pytest.fixture
def raced(tmp_path):
    """A directory with three probes and a study whose two leaders trained."""
    names = ("first", "second", "third")
    text = "".join([",".join(PROBE_COLUMNS), "\n", *(row(n, v) for n, v in zip(names, (0.9, 0.88, 0.5), strict=True))])
    (tmp_path / "backbones.csv").write_text(text)
    params = [{"backbone": name, "strategy": strategy} for name in ("first", "second")
              for strategy in ("freeze_all", "unfreeze_all")]  # fmt: skip
    study = study_of(params, [[0.8, 0.85], [0.7, 0.95], [0.6, 0.8], [0.5, 0.6]])
    study.info["race"] = {"skipped": {"fourth": f"no weights of {EVIL}"}, "chosen": ["first", "second"]}
    return tmp_path, study


def items_of(raced) -> list:
    (found,) = backbones_section(*raced)
    return found.items


def test_a_study_without_a_race_has_no_section(raced, tmp_path):
    directory, study = raced
    del study.info["race"]
    assert backbones_section(directory, study) == []
    study.info["race"] = {}
    assert backbones_section(tmp_path / "elsewhere", study) == []


def test_the_section_has_the_finding_the_probes_and_the_race(raced):
    items = items_of(raced)
    assert items[0].startswith("first has the best linear probe (0.9000, 95 % interval 0.8600 to 0.9400) of 3 back")
    assert "second with 0.8800, lies inside that interval" in items[0]
    assert [item.name for item in items if isinstance(item, Table)] == ["probes", "race"]
    assert items[-1].startswith("Not probed: fourth (no weights of <script>\\u202e")


def test_the_race_has_the_best_trial_of_each_strategy(raced):
    directory, study = raced
    table = best_per_strategy(study, read_probes(directory))
    assert table["backbone"].tolist() == ["first", "second"]
    assert table["linear_probe"].tolist() == [0.9, 0.88]
    assert table["unfreeze_all"].tolist() == [0.95, 0.6]


def test_a_second_outside_the_interval_is_told():
    columns = ("backbone", "linear_probe", "probe_low", "probe_high")
    probes = pd.DataFrame([("a", 0.9, 0.88, 0.92), ("b", 0.5, 0.4, 0.6)], columns=columns)
    assert describe_probes(probes).endswith("The second, b with 0.5000, lies outside that interval.")


@pytest.mark.parametrize("content", ["", "x,y\n1,2\n", "\0\0", ",".join(PROBE_COLUMNS)])
def test_a_damaged_table_costs_only_its_section(raced, content):
    directory, _ = raced
    (directory / "backbones.csv").write_text(content)
    assert items_of(raced)[0].startswith("Not shown: backbones.csv ")


def test_cells_that_are_no_numbers_become_missing(raced):
    directory, _ = raced
    text = ",".join(PROBE_COLUMNS) + f"\n{EVIL},64,many,0.1,0.5,x,0.6,0.1,,0.4\n"
    (directory / "backbones.csv").write_text(text)
    probes = read_probes(directory)
    assert "\u202e" not in probes["backbone"][0]
    assert probes["parameters"].isna().all()
