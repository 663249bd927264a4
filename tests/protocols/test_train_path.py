"""A cohort may be given by the path of its file."""

from pathlib import Path

import numpy as np
import pytest

from radapt import train
from radapt.errors import UsageError


def test_a_cohort_by_its_path(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((8, 8), np.float32))
    (tmp_path / "cases.csv").write_text("case,image,label,split\na,a.npy,x,train\nb,a.npy,y,train\nc,a.npy,y,test\n")
    (tmp_path / "cohort.yaml").write_text("name: toy\nkind: other\n")
    for path in (tmp_path / "cohort.yaml", str(tmp_path / "cohort.yaml")):
        with pytest.raises(UsageError, match="The backbone is 'dinov2-s'; expected the result"):
            train(path, "finetune", "dinov2-s")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"none\.yaml"):
        train(tmp_path / "none.yaml", "finetune")
