"""Cohorts whose images are behind addresses give what the same files on this machine give."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from radapt import load_backbone, load_cohort
from radapt.cli import app
from radapt.deploy.inputs.resolve import resolve_inputs
from radapt.doctor import check_cohort
from radapt.errors import UsageError
from radapt.features import extract
from radapt.features.extraction_error import ExtractionError
from radapt.remote import images as remote
from radapt.studies import Settings, read_study, run_study
from toy_server import ToyServer, serving
from toy_study import write_cohort, write_study

pytest.importorskip("aiohttp", reason="web addresses need radapt[remote]")

SIGNED = "?X-Amz-Signature=secret"


@pytest.fixture
def local(tmp_path: Path) -> Path:
    return write_cohort(tmp_path / "local", patients=24)


@pytest.fixture
def server(local: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ToyServer]:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(remote, "_FRESH_SECONDS", 0.0)
    with serving(local.parent) as started:
        yield started


@pytest.fixture
def cohort(local: Path, server: ToyServer, tmp_path: Path) -> Path:
    """The cohort, with signed addresses instead of paths."""
    table = pd.read_csv(local.parent / "cases.csv", keep_default_na=False)
    for column in ("image:a", "image:b"):
        table[column] = [f"{server.url}/{path}{SIGNED}" if path else "" for path in table[column]]
    there = tmp_path / "remote" / "cohort.yaml"
    there.parent.mkdir()
    there.write_bytes(local.read_bytes())
    table.to_csv(there.with_name("cases.csv"), index=False)
    return there


@pytest.mark.slow
def test_a_study_gives_the_same_numbers_and_fetches_every_image_once(
    cohort: Path, local: Path, server: ToyServer, tmp_path: Path
) -> None:
    backbones = [{"name": "vit", "as": "timm:test_vit", "weights": "random", "dtype": "float32"}]
    outcomes = {}
    for name, path in (("remote", cohort), ("local", local)):
        study = write_study(tmp_path / name, [path], backbones=backbones, protocols=["knn"], duplicates="allow")
        run_study(read_study(study), tmp_path / name / "run", Settings(tmp_path / name / "cache"))
        (cell,) = (tmp_path / name / "run" / "cells").iterdir()
        outcomes[name] = pd.read_parquet(cell / "predictions.parquet").drop(columns="cell")
    pd.testing.assert_frame_equal(outcomes["remote"], outcomes["local"], check_exact=True)
    assert set(server.fetched.values()) == {1}
    assert len(server.fetched) == sum(len(case.images) for case in load_cohort(local))
    written = [path for path in (tmp_path / "remote").rglob("*") if path.is_file() and path.name != "cases.csv"]
    assert not [path.name for path in written if b"secret" in path.read_bytes()]


def test_what_a_server_refuses_is_named_and_the_rest_goes_on(cohort: Path, server: ToyServer, tmp_path: Path) -> None:
    server.failing |= {"/images/3-a.npy": 404, "/images/5-a.npy": 403}
    problems = check_cohort(cohort, tmp_path / "cache").problems
    unreadable = {problem.case: problem.message for problem in problems if problem.code == "unreadable_image"}
    assert set(unreadable) == {"c3", "c5"}
    assert "does not exist" in unreadable["c3"]
    assert "refuses" in unreadable["c5"]
    backbone = load_backbone("timm:test_resnet", weights="random", dtype="float32")
    with pytest.raises(ExtractionError, match="c3"):
        extract(cohort, backbone, size=32, cache=tmp_path / "cache")
    assert server.fetched["/images/6-a.npy"]
    study = write_study(tmp_path, [cohort], protocols=["knn"])
    result = CliRunner().invoke(
        app, ["run", str(study), "--out", str(tmp_path / "run"), "--cache", str(tmp_path / "c")]
    )
    assert result.exit_code == 1
    assert "3-a.npy cannot be read: it does not exist" in result.output
    assert "5-a.npy cannot be read: the server refuses it" in result.output
    assert "secret" not in result.output


def test_offline_a_remote_cohort_is_refused(cohort: Path, server: ToyServer, tmp_path: Path) -> None:
    study = write_study(tmp_path, [cohort], protocols=["knn"])
    out, cache = str(tmp_path / "out"), str(tmp_path / "cache")
    for command in (
        ["run", str(study), "--offline", "--out", out, "--cache", cache],
        ["embed", str(cohort), "--backbone", "timm:test_resnet", "--weights", "random", "--offline", "--out", out],
    ):
        result = CliRunner().invoke(app, command)
        assert isinstance(result.exception, UsageError)
        assert "works offline" in str(result.exception)
    assert not server.fetched


def test_scan_of_a_table_keeps_the_addresses(server: ToyServer, tmp_path: Path) -> None:
    rows = [[f"p{n}", f"{server.url}/images/{n}-a.npy{SIGNED}", ["healthy", "ill"][n % 2]] for n in range(8)]
    pd.DataFrame(rows, columns=["case", "scan", "label"]).to_csv(tmp_path / "table.csv", index=False)
    out = tmp_path / "scanned" / "cohort.yaml"
    result = CliRunner().invoke(app, ["scan", str(tmp_path / "table.csv"), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert list(pd.read_csv(out.with_name("cases.csv"))["image"]) == [row[1] for row in rows]
    assert [case.images["image"].url for case in load_cohort(out)] == [row[1] for row in rows]


def test_predict_takes_an_address(server: ToyServer) -> None:
    resolved = resolve_inputs([f"{server.url}/images/3-a.npy{SIGNED}"], (), "other")
    (case,) = resolved.cohort.cases
    assert case.case == "3-a"
    assert [location.url for location in case.images.values()] == [f"{server.url}/images/3-a.npy{SIGNED}"]


def test_a_bucket_is_read_like_a_folder(local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("s3fs", reason="s3:// needs radapt[remote]")
    server_of = pytest.importorskip("moto.server", reason="a server for s3:// needs moto")
    from boto3 import client

    for name, value in (("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    moto = server_of.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    try:
        endpoint = "http://{}:{}".format(*moto.get_host_and_port())
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        bucket = client("s3", endpoint_url=endpoint)
        bucket.create_bucket(Bucket="images")
        paths = sorted((local.parent / "images").iterdir())[:4]
        for path in paths:
            bucket.upload_file(str(path), "images", f"a/{path.name}")
        rows = [[path.stem, f"s3://images/a/{path.name}"] for path in paths] + [["gone", "s3://images/a/gone.npy"]]
        pd.DataFrame(rows, columns=["case", "image"]).to_csv(tmp_path / "cases.csv", index=False)
        (tmp_path / "cohort.yaml").write_text("name: bucket\nkind: other\ncases: cases.csv\n")
        backbone = load_backbone("timm:test_resnet", weights="random", dtype="float32")
        with pytest.raises(ExtractionError, match=r"gone.npy cannot be read: it does not exist"):
            extract(tmp_path / "cohort.yaml", backbone, size=32, cache=tmp_path / "cache")
        there = extract(load_cohort(tmp_path / "cohort.yaml")[:4], backbone, size=32, cache=tmp_path / "cache")
        here = Path(tmp_path / "here.csv")
        here.write_text("case,image\n" + "\n".join(f"{path.stem},{path}" for path in paths))
        (tmp_path / "here.yaml").write_text("name: here\nkind: other\ncases: here.csv\n")
        same = extract(tmp_path / "here.yaml", backbone, size=32, cache=tmp_path / "other")
        np.testing.assert_array_equal(there.to_numpy(), same.to_numpy())
    finally:
        moto.stop()
