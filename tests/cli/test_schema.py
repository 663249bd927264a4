"""The schemas accept what radapt accepts, and refuse what it refuses."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from radapt.cli import main
from radapt.cohorts.cohort_file import KEYS
from radapt.cohorts.cohort_schema import cohort_schema
from radapt.protocols.registry import PROTOCOLS
from radapt.studies.study_schema import study_schema

ROOT = Path(__file__).parents[2]
STUDY = jsonschema.Draft202012Validator(study_schema())
COHORT = jsonschema.Draft202012Validator(cohort_schema())
MINIMAL = {"name": "a", "cohorts": ["cohort.yaml"], "protocols": ["knn"]}


@pytest.mark.parametrize("file", sorted((ROOT / "studies").glob("*.yaml")), ids=lambda file: file.stem)
def test_ready_studies_are_valid(file: Path) -> None:
    assert [error.message for error in STUDY.iter_errors(yaml.safe_load(file.read_text()))] == []


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": [0]},
        {"protocols": ["knm"]},
        {"protocols": [{"knn": {"kk": 3}}]},
        {"protocols": []},
        {"protocols": [{"knn": {}, "linear": {}}]},
        {"image": {"size": "big"}},
        {"image": {"look": "liver"}},
        {"backbones": [{"name": "x", "weigths": "random"}]},
        {"seeds": [-1]},
        {"controls": "some"},
    ],
)
def test_mistakes_in_a_study_are_marked(changes: dict) -> None:
    assert STUDY.is_valid(MINIMAL)
    assert not STUDY.is_valid(MINIMAL | changes)


def test_every_protocol_and_option_is_known() -> None:
    for name, kind in PROTOCOLS.items():
        assert STUDY.is_valid(MINIMAL | {"protocols": [name]})
        own = STUDY.schema["$defs"]["Protocol"]["anyOf"][1]["properties"][name]["anyOf"][0]
        assert set(own["properties"]) == set(kind.known_options())


@pytest.mark.parametrize(
    ("given", "valid"),
    [
        ({"name": "lgg", "kind": "mri", "cases": "cases.csv"}, True),
        ({"classes": ["no", "yes"], "mask_labels": {"1": "tumour"}, "source": {"title": "x", "version": 2}}, True),
        ({"split": {"seed": 1, "val": 0.1, "test": 0.2}}, True),
        ({"split": {"by": "site", "merge": {"EZ": "FG"}}}, True),
        ({"split": {"folds": 5, "seed": 0}}, True),
        ({"split": {"folds": 5, "val": 0.1}}, False),
        ({"split": {"by": "scanner"}}, False),
        ({"kind": "mr"}, False),
        ({"classes": ["one"]}, False),
        ({"mask_labels": {"tumour": 1}}, False),
        ({"clases": ["a", "b"]}, False),
    ],
)
def test_cohort_files(given: dict, valid: bool) -> None:
    assert COHORT.is_valid(given) == valid


def test_every_key_of_a_cohort_file_is_there() -> None:
    assert set(COHORT.schema["properties"]) == set(KEYS)


def test_the_command_prints_or_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def call(*words: object) -> int:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        return int(ended.value.code or 0)

    assert call("schema", "study", "--out", tmp_path / "study.schema.json") == 0
    assert json.loads((tmp_path / "study.schema.json").read_text()) == study_schema()
    assert call("schema", "cohort") == 0
    assert json.loads(capsys.readouterr().out) == cohort_schema()
    assert call("schema", "cohorts") == 2
    assert "Did you mean 'cohort'" in capsys.readouterr().err
