"""Whether the pretraining of an encoder lists the data set that it is tested on."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from radapt.dataset_cards import dataset_cards

Overlap = Literal["listed", "adapted", "not listed", "unknown"]
"""`listed`: the pretraining names the data set. `adapted`: the encoder was adapted to the cohort's own training
patients. `unknown`: nothing is known of the pretraining."""

_LEAST_LETTERS = 5  # of a name that is looked for inside another one


def overlap(pretraining: Sequence[str], cohort: str, source: Mapping[str, Any]) -> Overlap:
    """What the names of the `pretraining` data say of a cohort called `cohort` with this `source`.

    A cohort comes from the data set that `source.title` names, and the data set card with that title. Names are
    compared by their letters and digits, and one may hold the other: `MIMIC-CXR` is in `MIMIC-CXR-JPG`. A cohort
    without a title is listed nowhere.
    """
    others = [name for name in pretraining if _letters(name) != _letters(cohort)]
    title = str(source.get("title") or "")
    names = [title, *(card.name for card in dataset_cards().values() if _letters(card.title) == _letters(title))]
    if any(_same(name, seen) for name in names for seen in others):
        return "listed"
    if len(others) < len(pretraining):
        return "adapted"
    return "not listed" if pretraining else "unknown"


def _same(name: str, other: str) -> bool:
    first, second = sorted((_letters(name), _letters(other)), key=len)
    return bool(first) and (first == second or (len(first) >= _LEAST_LETTERS and first in second))


def _letters(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
