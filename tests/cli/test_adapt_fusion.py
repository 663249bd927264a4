"""radapt adapt with an encoder that stays frozen: what it leaves in its folder, and resuming after a kill."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import save_file

import radapt
from radapt.cli import main
from radapt.protocols.load_model import load_model
from toy_study import write_cohort


def call(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def test_a_pretrained_encoder_is_fused_and_a_killed_one_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort, weights = write_cohort(tmp_path / "discs", patients=18), tmp_path / "vit.safetensors"
    state = radapt.load_backbone("timm:test_vit", "random").module.state_dict()
    save_file({name: tensor.to(torch.float32).contiguous() for name, tensor in state.items()}, weights)
    given: list[Any] = ["adapt", cohort, "--backbone", "timm:test_vit", "--weights", weights, "--size", 32, "--offline"]
    given += ["--cache", tmp_path / "cache", "--device", "cpu", "--precision", "float32", "--resamples", 100]
    given += ["--set", "fusion={epochs: 2, members: 1, width: 32, grid: 2}"]

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("radapt.mmdino.adapt_run.score_fitted", interrupted)
        assert call(*given, "--out", tmp_path / "killed") == 130
    assert (tmp_path / "killed/checkpoints/training.pt").is_file()
    for name in ("killed", "whole"):
        assert call(*given, "--out", tmp_path / name) == 0
    assert "a fusion of the tokens of timm:test_vit" in capsys.readouterr().out
    left = {path.name for path in (tmp_path / "killed").iterdir() if not path.name.startswith(".")}
    assert left == {
        "request.json", "model.json", "model.safetensors", "predictions.parquet", "scores.parquet", "subsets.parquet",
        "shapley.parquet", "subset_predictions.parquet", "adapt.json", "done.json", "report.html",
    }  # fmt: skip
    tables = [pd.read_parquet(tmp_path / name / "predictions.parquet") for name in ("killed", "whole")]
    pd.testing.assert_frame_equal(*tables)
    assert json.loads((tmp_path / "whole/adapt.json").read_text())["options"]["trained"] == "fusion"
    model = load_model(tmp_path / "whole", cache=tmp_path / "cache", offline=True)
    found = model.predict(radapt.load_cohort(cohort), modalities=["a"])
    assert len(found) == 18


def test_with_folds_every_patient_is_answered_by_a_fusion_of_the_others(tmp_path: Path) -> None:
    """The labels of a fold change nothing that is answered in it, and change what is answered in the others."""
    path = write_cohort(tmp_path / "discs", patients=18)
    facts = yaml.safe_load(path.read_text()) | {"split": {"folds_column": "fold"}}
    cases = pd.read_csv(path.parent / "cases.csv").drop(columns="split")
    cases["fold"] = ["x", "y", "z"] * 6
    found = []
    for name in ("given", "changed"):
        table = cases.copy()
        if name == "changed":
            held = table["fold"] == "x"
            table.loc[held, "label"] = table.loc[held, "label"].map({"healthy": "ill", "ill": "healthy"})
        table.to_csv(path.parent / "cases.csv", index=False)
        path.write_text(yaml.safe_dump(facts))
        given: list[Any] = ["adapt", path, "--backbone", "timm:test_vit", "--weights", "random", "--size", 32]
        given += ["--cache", tmp_path / "cache", "--device", "cpu", "--precision", "float32", "--resamples", 100]
        given += ["--set", "trained=fusion", "--set", "fusion={epochs: 2, members: 1, width: 32, grid: 2}"]
        assert call(*given, "--offline", "--out", tmp_path / name) == 0
        found.append(pd.read_parquet(tmp_path / name / "predictions.parquet").set_index("case")["p_ill"])
    assert sorted(found[0].index) == sorted(cases["case"]), "each is answered once"
    assert (tmp_path / "given/model/fold-x/model.json").is_file()
    assert (tmp_path / "given/model.json").is_file()
    same = found[0] == found[1].loc[found[0].index]
    fold = cases.set_index("case")["fold"].loc[same.index]
    assert same[fold == "x"].all()
    assert not same[fold != "x"].any()
