import time
from pathlib import Path

import pytest
from pydantic import Field

from radapt.errors import UsageError
from radapt.parsing.strict_yaml import StrictModel, read_yaml


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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: 2024-13-45", "line 1.*'2024-13-45' is not a valid timestamp; text needs quotes"),
        ("name: n\ninner:\n  depth: 2024-01-01 25:00:00", "line 3.*not a valid timestamp"),
        ("name: !!bool abc", "line 1.*'abc' is not a valid bool"),
        ("name: !!int abc", "line 1.*'abc' is not a valid int"),
        ("name: !!float abc", "line 1.*'abc' is not a valid float"),
        ("name: !!binary é", "line 1"),
        ("name: 0x" + "f" * 5000, "line 1.*number of 5,002 characters"),
        ("name: " + "9" * 5000, "line 1.*number of 5,000 characters"),
        ("name: n\n? [a, b]\n: c", "line 2: a key is a list"),
        ("name: &a [*a]", "line 1.*holds itself"),
        ("name: " + "{a: " * 3000 + "1" + "}" * 3000, "more than 50 levels"),
        ("name: " + "[" * 100_000, "more than 50 levels"),
        ("a: &a " + str(["x"] * 10) + "\n" + "".join(
            f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 10)}]\n" for i in range(9)
        ), "more than 200,000 values"),
        ("name: a\0b", "not valid YAML"),
    ],
)  # fmt: skip
def test_a_hostile_or_mistyped_file_is_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    start = time.monotonic()
    with pytest.raises(UsageError, match=said):
        read(tmp_path, text)
    assert time.monotonic() - start < 30


def test_aliases_that_repeat_little_are_followed(tmp_path: Path) -> None:
    found = read(tmp_path, "inner: &deep {depth: 3}\nitems: [*deep, *deep]\nname: n")
    assert found == Outer(name="n", inner=Inner(depth=3), items=[Inner(depth=3)] * 2)
