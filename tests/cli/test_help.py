"""Help, and completion of the shell."""

import os
import subprocess
import sys

import pytest

from radapt.cli import main
from radapt.cli.app import COMMANDS


@pytest.mark.parametrize("words", [["-h"], ["--help"], ["scan", "-h"], ["run", "-h"]])
def test_both_ways_to_ask_for_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code in (0, None)
    shown = capsys.readouterr().out
    assert shown.startswith("Usage: radapt")
    assert "-h, --help" in shown


def test_completion_can_be_installed_and_knows_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "--install-completion" in capsys.readouterr().out
    asked = {**os.environ, "_RADAPT_COMPLETE": "complete_bash", "COMP_WORDS": "radapt sca", "COMP_CWORD": "1"}
    done = subprocess.run([sys.executable, "-m", "radapt"], env=asked, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["scan"]


def test_every_command_has_a_whole_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    lines = capsys.readouterr().out.split("Commands:\n")[1].split("\n\n")[0].splitlines()
    assert len(lines) == len(COMMANDS)
    assert all(line.endswith(".") for line in lines)
