"""radapt datasets: the list, one data set in full, JSON."""

import json

import pytest

from radapt.cli import main
from radapt.cohorts.layouts import LAYOUTS
from radapt.dataset_cards import dataset_cards


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["datasets", *words])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def test_the_list_names_every_set_with_its_home_page(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys)
    assert code == 0
    plain = "".join(out.split())
    for name, card in dataset_cards().items():
        assert any(line.startswith(f"{name} ") for line in out.splitlines())
        assert "".join(card.url.split()) in plain


def test_json_has_the_layout_and_what_scan_expects(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert code == 0
    assert rows["tcga-gbm"]["layout"] == "dicom"
    assert rows["kits23"]["mask_labels"] == {"1": "kidney", "2": "tumour", "3": "cyst"}
    for row in rows.values():
        assert row["layout"] in LAYOUTS
        assert all(row[key].strip() for key in ("title", "task", "size", "licence", "url", "citation", "expects"))
        assert row["url"].startswith(("https://", "http://"))


def test_one_set_is_shown_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = said(capsys, "montgomery")
    assert code == 0
    for words in ("ManualMask/leftMask/", "Jaeger et al.", "1 left lung, 2 right lung", "--layout montgomery"):
        assert words in out


def test_an_unknown_name_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = said(capsys, "brats202")
    assert code == 2
    assert "brats2020" in err
