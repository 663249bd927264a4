"""radapt backbones: the catalog of encoders, whether their weights are on this machine, and how to get them there."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from radapt.backbones import WeightCard, WeightSource


def backbones(
    as_json: Annotated[bool, typer.Option("--json", help="Print the catalog as JSON.")] = False,
    fetch: Annotated[
        list[str] | None,
        typer.Option("--fetch", metavar="NAME", help="Download the weights of this encoder; may be repeated."),
    ] = None,
) -> None:
    """List the encoders: size, pretraining, licence, source of the weights, and whether they are on this machine.

    Any `timm:<model>`, `hf:<repository or folder>` and folder of `radapt adapt` can be used too. With --fetch, get the
    weights of some encoders ahead of time, and say what to carry to a machine without internet.
    """
    if fetch:
        for name in fetch:
            typer.echo(_fetched(name))
        return
    from radapt.backbones.catalog import CATALOG

    rows = [_row(name) for name in CATALOG]
    if as_json:
        import json

        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    _print(rows)


def _fetched(name: str) -> str:
    """Download the weights of `name`; where they came from, where they are, and how to use them without internet.

    UsageError: an unknown name, an encoder without published weights, weights that no source gives.
    """
    from radapt.backbones import card, resolve
    from radapt.backbones import fetch as download
    from radapt.errors import UsageError

    known = card(name)
    found = resolve(known)
    if found.kind == "random":
        raise UsageError(f"{name} has no published weights; it is trained from scratch and needs no file.")
    source = download(known, found)
    path = source.path or Path()
    size = sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())
    state = "already on this machine" if found.available else "downloaded"
    lines = [f"{name}: {state}, from the {source.where} ({size / 1e6:,.0f} MB)", f"  {path}"]
    if source.kind == "file":
        return "\n".join(lines)
    lines += [f"To use it on a machine without internet, {_carrying(known, source)}."]
    if not name.startswith("hf:"):  # whose description is in the repository too
        file = f"/path/to/{path.name}"
        lines += [
            "Or copy that file anywhere and name it in a study:",
            f"  backbones: [{{name: {name}, weights: {file}}}]",
            f"or on the command line: --backbone {name} --weights {file}",
        ]
    return "\n".join(lines)


def _carrying(card: "WeightCard", source: "WeightSource") -> str:
    """Where the weights must lie on another machine to be found by their name alone."""
    from radapt.backbones.weights import hub_cache
    from radapt.cachedir import cache_folder

    if source.kind == "package" and source.path is not None:
        place = source.path.relative_to(cache_folder())
        return f"copy that file to {place} in radapt's cache folder there ($RADAPT_CACHE, or here {cache_folder()})"
    folder = f"models--{card.repo.replace('/', '--')}"
    return f"copy the folder {hub_cache() / folder} to the hub's cache there ($HF_HUB_CACHE, or here {hub_cache()})"


def _row(name: str) -> dict[str, Any]:
    from dataclasses import asdict

    from radapt.backbones.catalog import CATALOG
    from radapt.backbones.weights import resolve

    card = CATALOG[name]
    source = resolve(card)
    return asdict(card) | {
        "options": dict(card.options),
        "here": source.available,
        "path": str(source.path or "") or None,
    }


def _millions(parameters: int) -> str:
    return f"{parameters / 1e6:,.0f} M" if parameters >= 10**6 else f"{parameters / 1e6:.1f} M"


def _origin(row: dict[str, Any]) -> str:
    """Where the weights come from, in the order in which the sources are tried."""
    package = row["package"]
    ways = [f"package {package['package']} {package['version']}"] if package else []
    ways += [row["repo"] + (" (gated)" if row["gated"] else "")] if row["repo"] else []
    return " or ".join(ways) or "random weights"


def _print(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from radapt.backbones.weights import hub_cache
    from radapt.cachedir import cache_folder

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("name", no_wrap=True)
    for title in ("params", "width", "patch", "size"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("here", no_wrap=True)
    table.add_column("pretraining; licence; source of the weights")
    for row in rows:
        numbers = (_millions(row["parameters"]), str(row["width"]), str(row["patch"]), str(row["native_size"]))
        words = f"{', '.join(row['pretraining']) or 'to be trained from scratch'}; {row['licence']}; {_origin(row)}"
        words += f". {row['note']}" if row["note"] else ""
        table.add_row(row["name"], *numbers, "yes" if row["here"] else "no", words)
    console = Console()
    if not console.is_terminal:
        console.width = 160
    console.print(table)
    console.print(
        "\nAlso timm:<model>, hf:<repository or folder>, and folders of `radapt adapt`. Weights are downloaded when "
        "they are needed, or ahead of time with --fetch NAME.\n"
        f"Those of the hub are stored in {hub_cache()}, those of packages in {cache_folder() / 'weights'}",
        highlight=False,
    )
