"""SIGTERM, which schedulers send, stops like Ctrl-C: with a message and exit code 130."""

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from radapt import cli
from radapt.durable import atomic_path


def command(work: Callable[[], None]) -> typer.Typer:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(work)
    return app


def test_sigterm_is_a_ctrl_c(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(cli, "app", command(work))
    try:
        with pytest.raises(SystemExit) as stopped:
            cli.main([])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert stopped.value.code == 130
    assert "the same command resumes it" in capsys.readouterr().err


def test_a_command_out_of_memory_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        raise MemoryError

    monkeypatch.setattr(cli, "app", command(work))
    with pytest.raises(SystemExit) as stopped:
        cli.main([])
    assert stopped.value.code == 1
    assert "Out of memory" in capsys.readouterr().err


def test_a_full_disk_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        with atomic_path(tmp_path / "results.parquet") as part:
            part.write_text("half")
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cli, "app", command(work))
    with pytest.raises(SystemExit) as stopped:
        cli.main([])
    assert stopped.value.code == 2
    assert capsys.readouterr().err == (
        f"radapt: {tmp_path / 'results.parquet'} cannot be written: No space left on device. Free some space there, or "
        "choose a folder on another disk.\n"
    )
    assert list(tmp_path.iterdir()) == []
