"""radapt datasets: the public data sets that scan knows, how to get them, and what scan expects."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from radapt.dataset_cards import DatasetCard


def datasets(
    name: Annotated[str | None, typer.Argument(help="One data set, in full.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the public data sets that scan knows: task, size, licence and home page; with a name, all of it.

    Nothing is downloaded: get a data set from its home page, then run radapt scan on its folder.
    """
    from radapt.dataset_cards import dataset_cards
    from radapt.errors import UsageError, suggest

    cards = dataset_cards()
    if name is not None and name not in cards:
        raise UsageError(f"Unknown data set {name!r}. {suggest(name, cards)}")
    chosen = list(cards.values()) if name is None else [cards[name]]
    if as_json:
        import json

        facts = [_facts(card) for card in chosen]
        typer.echo(json.dumps(facts if name is None else facts[0], indent=2, ensure_ascii=False))
    elif name is None:
        _print(chosen)
    else:
        typer.echo(_in_full(chosen[0]))


def _facts(card: "DatasetCard") -> dict[str, object]:
    """The card as JSON, with the name of its layout and the structures in its masks instead of its patterns."""
    facts = card.model_dump(mode="json", exclude={"files"})
    labels = {str(value): label for value, label in card.files.mask_labels.items()} if card.files else {}
    return {**facts, "layout": card.layout or card.name, "mask_labels": labels}


def _in_full(card: "DatasetCard") -> str:
    facts = {
        "task": card.task,
        "size": card.size,
        "licence": card.licence,
        "get it": card.url,
        "version": card.version,
        "cite": card.citation,
        "layout": card.layout or card.name,
    }
    lines = [card.title, *(f"  {name}: {text}" for name, text in facts.items() if text), "  scan expects:"]
    lines += [f"    {line}" for line in card.expects.rstrip().splitlines()]
    if card.files and card.files.mask_labels:
        named = ", ".join(f"{value} {label}" for value, label in card.files.mask_labels.items())
        lines.append(f"  masks: {named}")
    if card.files:
        lines += [f"  note: {note}" for note in card.files.notes]
    return "\n".join([*lines, "", f"radapt scan FOLDER --layout {card.layout or card.name} --out cohort.yaml"])


def _print(cards: "list[DatasetCard]") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("name", "layout", "kind"):
        table.add_column(title, no_wrap=True)
    table.add_column("task; size; licence; home page")
    for card in cards:
        words = f"{card.task}; {card.size}; {card.licence}; {card.url}"
        table.add_row(card.name, card.layout or card.name, card.kind or "several", words)
    console = Console()
    if not console.is_terminal:
        console.width = 160
    console.print(table, highlight=False)
    console.print("\n`radapt datasets NAME` shows what scan expects, and how to cite.", highlight=False)
