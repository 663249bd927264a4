"""Which tokens an extraction of features stores beside them, for a protocol of the same study."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from radapt.cachedir import cache_folder
from radapt.studies.cells import Cell
from radapt.studies.ledger import Ledger

if TYPE_CHECKING:
    from radapt.features.token_pass import MakeStore


def tokens_beside(cells: Iterable[Cell], reading: Cell, ledger: Ledger, cache: Path | None) -> "MakeStore | None":
    """Of the first unfinished cell that reads tokens of the same encoder from the same slices as `reading`."""
    prepared = reading.prepared
    for cell in cells:
        if cell.encoder is None or cell.encoder != reading.encoder or cell.prepared is not prepared:
            continue
        make = cell.job.protocol.token_store(
            cell.encoder.located.lazy, prepared.cohort, prepared.recipe, cell.facts["dtype"], cache_folder(cache)
        )
        if make is not None and not ledger.is_done(cell.id):
            return make
    return None
