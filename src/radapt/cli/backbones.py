"""radapt backbones: the catalog of encoders, and whether their weights are on this machine."""

from typing import Annotated, Any

import typer


def backbones(
    as_json: Annotated[bool, typer.Option("--json", help="Print the catalog as JSON.")] = False,
) -> None:
    """List the encoders: size, pretraining, licence, source of the weights, and whether they are on this machine.

    Any `timm:<model>`, `hf:<repository or folder>` and folder of `radapt adapt` can be used too.
    """
    from radapt.backbones.catalog import CATALOG

    rows = [_row(name) for name in CATALOG]
    if as_json:
        import json

        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    _print(rows)


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


def _print(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from radapt.backbones.weights import hub_cache

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("name", no_wrap=True)
    for title in ("params", "width", "patch", "size"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("here", no_wrap=True)
    table.add_column("pretraining; licence; source of the weights")
    for row in rows:
        numbers = (_millions(row["parameters"]), str(row["width"]), str(row["patch"]), str(row["native_size"]))
        origin = row["repo"] + (" (gated)" if row["gated"] else "") or "random weights"
        words = f"{', '.join(row['pretraining']) or 'to be trained from scratch'}; {row['licence']}; {origin}"
        table.add_row(row["name"], *numbers, "yes" if row["here"] else "no", words)
    console = Console()
    if not console.is_terminal:
        console.width = 160
    console.print(table)
    console.print(
        "\nAlso timm:<model>, hf:<repository or folder>, and folders of `radapt adapt`. "
        f"Downloads are stored in {hub_cache()}",
        highlight=False,
    )
