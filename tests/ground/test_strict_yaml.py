from pathlib import Path

import pytest
from pydantic import Field

from radapt.errors import UsageError
from radapt.strict_yaml import StrictModel, read_yaml


class Inner(StrictModel):
    depth: int = 1


class Outer(StrictModel):
    name: str
    inner: Inner = Inner()
    items: list[Inner] = Field(default_factory=list)
    as_: str | None = Field(default=None, alias="as")


def read(tmp_path: Path, text: str) -> Outer:
    path = tmp_path / "file.yaml"
    path.write_text(text, encoding="utf-8")
    return read_yaml(path, Outer, "test file")


def test_a_file_is_read(tmp_path: Path) -> None:
    found = read(tmp_path, "\ufeffname: n\ninner: {depth: 2}\nas: other\n")
    assert found == Outer(name="n", inner=Inner(depth=2), as_="other")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nam: n", "line 1: unknown key nam. Did you mean 'name'?"),
        ("name: n\ninner:\n  dept: 2", "line 3, 'inner': unknown key dept. Did you mean 'depth'?"),
        ("name: n\nitems:\n- depth: 1\n- deep: 2", "line 4, 'items.2': unknown key deep."),
        ("name: n\ninner:\n  depth: two", "line 3, 'inner.depth': a whole number was expected (given: 'two')"),
        ("name: n\nname: m", "gives 'name' twice: line 1 and line 2"),
        ("inner: {}", "'name' is missing"),
        ("name: [", "not valid YAML: line 1"),
        ("", "is empty"),
        ("- a", "is a list"),
        ("name: !!python/object/apply:os.system ['true']", "not valid YAML"),
    ],
)
def test_a_fault_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        read(tmp_path, text)
    assert said in str(error.value)
    assert "file.yaml" in str(error.value)


def test_a_file_that_is_not_there_and_one_that_is_not_text(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_yaml(tmp_path / "gone.yaml", Outer, "test file")
    (tmp_path / "bytes.yaml").write_bytes(b"name: \xff\xfe")
    with pytest.raises(UsageError, match="UTF-8"):
        read_yaml(tmp_path / "bytes.yaml", Outer, "test file")
