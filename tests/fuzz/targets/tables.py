"""Cohorts, their tables, and study files."""

import io
import os
import re
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fuzz.target import Target
from fuzz.targets.pictures import zip_fields
from radapt.cohorts.loading import load_cohort
from radapt.studies.study import read_study

TABLE = pd.DataFrame(
    {
        "case": [f"c{row}" for row in range(8)],
        "patient": [f"p{row}" for row in range(8)],
        "site": list("aabbaabb"),
        "split": ["train", "train", "train", "val", "val", "test", "test", "external"],
        "image:t1": [f"img/{row}.npy" for row in range(8)],
        "label": ["healthy", "ill"] * 4,
        "age": [40.5 + row for row in range(8)],
    }
)
FINDINGS = TABLE.drop(columns="label").assign(**{"label:a": [1, 0, None, 1] * 2, "label:b": [0, 1, 1, 0] * 2})
COHORTS = (
    b"""name: toy
kind: mri
cases: cases.csv
classes: [healthy, ill]
mask_labels: {1: tumour, 2: oedema}
source: {title: x, licence: y}
""",
    b"name: toy\nkind: ct\ncases: cases.csv\nsplit: {folds: 3}\n",
    b"# a comment\nname: 'toy'\nkind: other\ncases: cases.csv\nsplit:\n  by: site\n",
)
STUDIES = (
    b"""name: s
cohorts: [cohort.yaml]
backbones: [vit-nano, {name: ours, as: vit-nano, weights: random}]
protocols: [knn, linear, {fewshot: {shots: [1, 2], repeats: 3}}]
image: {size: 56, slices: {axis: axial, every: 2}}
seeds: [0, 1]
""",
    b"""name: s
cohorts:
- cohort.yaml
backbones:
- name: r
  as: vit-nano
  weights: random
protocols:
- segment: {decoder: linear, epochs: 1}
choose: cv
select_by: mcc
decision: tuned
resamples: 100
""",
)


@cache
def _beside() -> dict[str, bytes]:
    """The files beside the damaged one, made once."""
    image = io.BytesIO()
    np.save(image, np.zeros((2, 2), np.uint8))
    images = {f"img/{row}.npy": image.getvalue() for row in range(8)}
    return images | {"cases.csv": TABLE.to_csv(index=False).encode(), "cohort.yaml": COHORTS[0]}


def prepared(folder: Path, damaged: str, content: bytes, *left_out: str) -> None:
    """Write a cohort without the files `left_out`, and the file `damaged`."""
    os.mkdir(folder / "img")  # noqa: PTH102
    for name, whole in _beside().items():
        if name not in left_out:
            with open(f"{folder}/{name}", "wb") as file:  # noqa: PTH123
                file.write(whole)
    (folder / damaged).write_bytes(content)


def cohort(name: str) -> Callable[[bytes, Path], Any]:
    def loaded(content: bytes, folder: Path) -> Any:
        prepared(folder, name, content)
        if name.startswith("cases."):
            (folder / "cohort.yaml").write_text(f"name: toy\nkind: mri\ncases: {name}\n")
        found = load_cohort(folder / "cohort.yaml")
        return repr(found.cases).replace(str(folder), ""), found.name, found.classes, found.findings

    return loaded


def scanned(name: str) -> Callable[[bytes, Path], Any]:
    def found(content: bytes, folder: Path) -> Any:
        from radapt.cohorts.scan import scan

        prepared(folder, name, content, "cases.csv", "cohort.yaml")
        return repr(scan(folder / name, out=folder / "out" / "cohort.yaml")).replace(str(folder), "")

    return found


def study(content: bytes, folder: Path) -> Any:
    prepared(folder, "study.yaml", content)
    return read_study(folder / "study.yaml").resolved().replace(str(folder), "")


def csvs() -> list[bytes]:
    german = TABLE.to_csv(index=False, sep=";", decimal=",").encode("cp1252")
    return [
        TABLE.to_csv(index=False).encode(),
        FINDINGS.to_csv(index=False).encode(),
        german,
        TABLE.to_csv(index=False, sep="\t").encode("utf-16"),
    ]


def parquets() -> list[bytes]:
    return [table.to_parquet(index=False, compression=kind) for table, kind in ((TABLE, "snappy"), (FINDINGS, None))]


def workbooks() -> list[bytes]:
    found = []
    for table in (TABLE, FINDINGS):
        file = io.BytesIO()
        table.to_excel(file, index=False)
        found.append(_slim(file.getvalue()))
    return found


def _slim(content: bytes) -> bytes:
    """A workbook without its 64 colours, which take a third of the time to read and hold no values."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in source.namelist():
            inner = source.read(name)
            archive.writestr(name, re.sub(rb"<colors>.*</colors>", b"", inner) if name == "xl/styles.xml" else inner)
    return file.getvalue()


def _inner(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read("xl/worksheets/sheet1.xml")


def _outer(inner: bytes) -> bytes:
    import zipfile

    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(workbooks_once()[0])) as source, zipfile.ZipFile(file, "w") as archive:
        for name in source.namelist():
            archive.writestr(name, inner if name == "xl/worksheets/sheet1.xml" else source.read(name))
    return file.getvalue()


_BOOKS: list[bytes] = []


def workbooks_once() -> list[bytes]:
    if not _BOOKS:
        _BOOKS.extend(workbooks())
    return _BOOKS


TARGETS = [
    Target("cohort.yaml", lambda: COHORTS, cohort("cohort.yaml"), text=True),
    Target("study.yaml", lambda: STUDIES, study, text=True),
    Target("cases.csv", csvs, cohort("cases.csv"), text=True),
    Target("scanned csv", csvs, scanned("table.csv"), text=True, slow=True),
    Target("cases.parquet", parquets, cohort("cases.parquet"), slow=True),
    Target(
        "scanned xlsx",
        workbooks_once,
        scanned("table.xlsx"),
        checked=True,
        fields=zip_fields,
        unseal=_inner,
        reseal=_outer,
        text=True,
        slow=True,
    ),
]
