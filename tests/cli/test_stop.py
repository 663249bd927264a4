"""SIGTERM, which schedulers send, stops like Ctrl-C: with a message and exit code 130."""

import os
import signal
from collections.abc import Callable

import pytest
import typer

from radapt import cli


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
