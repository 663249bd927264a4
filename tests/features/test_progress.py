"""Progress: silent for tiny work, plain lines in a log, a bar on a terminal."""

import io

import pytest

from radapt import progress as module
from radapt.progress import progress, silent


def test_tiny_work_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(3, "Reading") as advance:
        advance(3)
    assert capsys.readouterr().err == ""


def test_a_log_gets_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    with progress(4, "Reading lgg", "images") as advance:
        for _ in range(4):
            advance(1)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("Reading lgg: 4 of 4 images, ")
    assert 2 <= len(lines) <= 3


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(module.sys, "stderr", screen)
    monkeypatch.setattr(module, "_QUIET_S", 0.0)
    with progress(2, "Reading", "images") as advance:
        advance(1)
        advance(1)
    assert "2/2" in screen.getvalue()


def test_silent_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with silent(3, "Reading") as advance:
        advance(1)
    assert capsys.readouterr().err == ""
