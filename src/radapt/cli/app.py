"""The commands, each from its own file."""

import typer

from radapt.cli.adapt import adapt
from radapt.cli.audit import audit
from radapt.cli.backbones import backbones
from radapt.cli.beside import beside
from radapt.cli.check import check
from radapt.cli.compare import compare
from radapt.cli.datasets import datasets
from radapt.cli.demo import demo
from radapt.cli.embed import embed
from radapt.cli.evaluate_model import evaluate_model
from radapt.cli.export import export
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


COMMANDS = (
    demo, scan, check, datasets, backbones, embed, adapt, run,
    report, beside, compare, labels, audit, export, predict, evaluate_model, schema, verify,
)  # fmt: skip

for command in COMMANDS:
    app.command()(command)
