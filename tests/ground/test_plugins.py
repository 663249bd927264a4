"""What other packages add through entry points: found by name, imported when asked for, refused in one sentence."""

from collections.abc import Callable
from pathlib import Path

import pytest

from radapt.errors import UsageError
from radapt.plugins import Registry, declared


class Thing:
    def __init__(self, name: str) -> None:
        self.name = name


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put a package on the path that has one module, `code`, and entry points (name → value) of the group."""

    def installed(package: str, code: str, **entries: str) -> None:
        home = tmp_path / package
        info = home / f"{package}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = "".join(f"{name} = {value}\n" for name, value in entries.items())
        (info / "entry_points.txt").write_text(f"[radapt.things]\n{lines}")
        (home / f"{package}.py").write_text(code)
        monkeypatch.syspath_prepend(home)

    return installed


@pytest.fixture
def registry() -> Registry[Thing]:
    own: dict[str, Thing | str] = {"ours": Thing("ours"), "far": "radapt.nowhere:FAR"}
    return Registry("radapt.things", "thing", lambda: own, lambda found: isinstance(found, Thing))


def test_own_things_come_first_and_are_imported_when_asked_for(registry: Registry[Thing]) -> None:
    assert list(registry) == ["ours", "far"]
    assert "far" in registry
    assert registry["ours"].name == "ours"
    with pytest.raises(ModuleNotFoundError):
        registry["far"]
    with pytest.raises(KeyError):
        registry["theirs"]


def test_a_thing_of_another_package_is_found(registry: Registry[Thing], install: Callable[..., None]) -> None:
    install("extra", "import types\nTHEIRS = types.SimpleNamespace(name='theirs')", theirs="extra:THEIRS")
    loose: Registry[object] = Registry("radapt.things", "thing", dict, lambda found: hasattr(found, "name"))
    assert list(loose) == ["theirs"]
    assert loose["theirs"] is loose["theirs"]


@pytest.mark.parametrize(
    ("code", "entries", "asked", "message"),
    [
        ("", {"ours": "extra:X"}, "ours", "Package extra adds a thing named 'ours', as radapt's own is"),
        ("import nothing_of_this_name", {"new": "extra:X"}, "new", "Thing 'new' of package extra cannot be imported"),
        ("", {"new": "extra:ABSENT"}, "new", "'new' of package extra cannot be imported from extra:ABSENT"),
        ("1 / 0", {"new": "extra:X"}, "new", "ZeroDivisionError"),
        ("X = 3", {"new": "extra:X"}, "new", "Thing 'new' of package extra is no thing: extra:X is of type int"),
    ],
)
def test_one_sentence_names_the_package(
    code: str,
    entries: dict[str, str],
    asked: str,
    message: str,
    registry: Registry[Thing],
    install: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(__import__("sys").modules, "extra", raising=False)
    install("extra", code, **entries)
    assert asked in registry  # listing does not fail, so that help and everything else still work
    assert registry["ours"] if asked != "ours" else True
    with pytest.raises(UsageError, match=message):
        registry[asked]


def test_a_name_that_differs_is_refused(install: Callable[..., None]) -> None:
    install("renamed", "import types\nX = types.SimpleNamespace(name='other')", new="renamed:X")
    loose: Registry[object] = Registry("radapt.things", "thing", dict, lambda _: True)
    with pytest.raises(UsageError, match="'new' of package renamed has the name 'other'"):
        loose["new"]


def test_two_packages_with_one_name_are_both_named(registry: Registry[Thing], install: Callable[..., None]) -> None:
    install("one", "X = 1", new="one:X")
    install("two", "X = 1", new="two:X")
    with pytest.raises(UsageError, match="'new' of a thing is added 2 times, by one and two"):
        registry["new"]


def test_one_may_be_set_for_this_process(registry: Registry[Thing]) -> None:
    registry["mine"] = Thing("mine")
    assert list(registry) == ["ours", "far", "mine"]
    del registry["mine"]
    assert "mine" not in registry


def test_a_file_that_declares_something_else_is_refused() -> None:
    with pytest.raises(TypeError, match="not a int"):
        declared("radapt.cohorts.layouts", "LAYOUT", int)
