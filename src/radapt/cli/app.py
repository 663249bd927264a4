"""The commands, each from its own file."""

from collections.abc import Callable

import typer

from radapt.cli.adapt import adapt
from radapt.cli.audit import audit
from radapt.cli.backbones import backbones
from radapt.cli.beside import beside
from radapt.cli.check import check
from radapt.cli.compare import compare
from radapt.cli.datasets import datasets
from radapt.cli.demo.command import demo
from radapt.cli.embed import embed
from radapt.cli.evaluate_model import evaluate_model
from radapt.cli.export import export
from radapt.cli.hashes import hashes
from radapt.cli.labels import labels
from radapt.cli.predict import predict
from radapt.cli.report import report
from radapt.cli.run import run
from radapt.cli.scan import scan
from radapt.cli.schema import schema
from radapt.cli.verify import verify
from radapt.versions import __version__

app = typer.Typer(
    name="radapt",
    help="Adapt vision foundation models to medical images, and measure honestly how good they are.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog="--debug, anywhere on the line, shows the traceback of an error.",
)


def _version(requested: bool) -> None:
    if requested:
        typer.echo(f"radapt {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Adapt vision foundation models to medical images, and measure honestly how good they are."""


COMMANDS: dict[Callable[..., None], str] = {
    demo: "Run a whole study on synthetic patients, in minutes.",
    scan: "Turn a folder, table or archive into a cohort.",
    check: "Read every case of a cohort and list its problems.",
    hashes: "Write hashes of pictures, to be searched in their place.",
    datasets: "List the public data sets that scan knows.",
    backbones: "List the encoders, or get their weights.",
    embed: "Write the features of every case for other programs.",
    adapt: "Adapt an encoder to sequences, of which some are missing.",
    run: "Run a study, and write its report.",
    report: "Write the report of a run again.",
    beside: "Add the results of another tool to a run.",
    compare: "Say whether one method is better than another.",
    labels: "Say how many more labelled patients would be needed.",
    audit: "Say how much of a lead is from choosing on the test set.",
    export: "Write the winner of a run as a model folder.",
    predict: "Predict new patients with a model folder.",
    evaluate_model: "Say whether a model holds at another hospital.",
    schema: "Print the JSON schema of the files that users write.",
    verify: "Find changed files of a run, and wrong numbers.",
}
"""Every command with its line in `radapt --help`, in the order of a study."""

for command, line in COMMANDS.items():
    app.command(short_help=line)(command)
