"""What a reader is told of a fitted `segment`: candidates, what storing tokens saved, notes and cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from radapt.classification.outcome import left_out
from radapt.protocols.fitted import Cost
from radapt.segmentation.criterion import CRITERION
from radapt.segmentation.encoder_decoder.stored_tokens import StoredTokens, TokenPlan, encoding_seconds, report
from radapt.segmentation.training_notes import training_notes
from radapt.training import TrainResult

if TYPE_CHECKING:
    from radapt.backbones.backbone import Backbone
    from radapt.segmentation.encoder_decoder.fit import Fitting


@dataclass(frozen=True, eq=False)
class Candidate:
    """One learning rate and what came of it."""

    rate: float
    dice: float
    trained: TrainResult
    parameters: tuple[int, int]

    @property
    def facts(self) -> dict[str, Any]:
        found = self.trained
        return {
            "lr": self.rate,
            "val_dice": self.dice,
            "best_epoch": found.best_epoch,
            "epochs": found.epochs,
            "steps": found.steps,
        }

    def better(self, other: "Candidate") -> bool:
        """Whether its Dice is higher; an undefined one never is."""
        return self.dice > other.dice or (np.isnan(other.dice) and not np.isnan(self.dice))


def told(
    fitting: "Fitting",
    found: Sequence[Candidate],
    best: int,
    backbone: "Backbone",
    tokens: StoredTokens | None,
    plan: TokenPlan | None,
) -> dict[str, Any]:
    """`Fitted.chosen`."""
    chooses, own = len(fitting.val) > 0, len(fitting.problem.rows("val")) > 0
    winner = found[best]
    return {
        "winner": winner.facts,
        "criterion": CRITERION if chooses else "no case to choose on, so the first learning rate was taken by default",
        "candidates": [*(each.facts for each in found), *_lost(fitting)] if chooses else [],
        "cases": {"train": len(fitting.train), "val": len(fitting.val)},
        "val": ("the cohort's" if own else "drawn by patient inside train") if chooses else "none",
        "trained": winner.parameters[0],
        "parameters": winner.parameters[1],
        "tokens": _saved(fitting, found, backbone, tokens, plan),
        "notes": _notes(fitting, found, best, tokens),
        "history": winner.trained.history,
    }


def _lost(fitting: "Fitting") -> list[dict[str, Any]]:
    """Learning rates at which training diverged, as candidates that were never judged."""
    nothing = {"val_dice": float("nan"), "best_epoch": 0, "epochs": 0, "steps": 0}
    return [{"lr": rate, **nothing, "diverged": reason} for rate, reason in fitting.diverged.items()]


def cost_of(found: Sequence[Candidate], best: int, tokens: StoredTokens | None) -> Cost:
    """The whole fit; parameters of the live network, with a frozen encoder's."""
    return Cost(
        trained=found[best].parameters[0],
        parameters=found[best].parameters[1],
        peak_memory_mb=max(each.trained.peak_memory_mb for each in found),
        seconds=sum(each.trained.seconds for each in found) + (tokens.seconds if tokens else 0.0),
    )


def _saved(
    fitting: "Fitting",
    found: Sequence[Candidate],
    backbone: "Backbone",
    tokens: StoredTokens | None,
    plan: TokenPlan | None,
) -> dict[str, Any]:
    """What storing tokens took and saved."""
    if plan is None:
        return {"stored": False}
    if tokens is None:
        return {"stored": False, "gb": plan.gb, "budget_gb": plan.budget_gb}
    scored = sum(fitting.data.count(int(row)) for row in fitting.val)
    size = len(fitting.slices)
    learned = sum(each.trained.steps / -(-size // fitting.protocol.batch) for each in found) * size
    looks = sum(1 + sum(np.isfinite(epoch["score"]) for epoch in each.trained.history) for each in found)
    images = plan.slices / (size + scored)  # modalities of a slice, on average
    planes, present = fitting.seen.planes(int(fitting.train[0]), slice(0, 16))
    per_slice = encoding_seconds(backbone, planes[:, int(np.argmax(present))], plan.layout.layers)
    return report(plan, tokens, per_slice, round((learned + looks * scored) * images))


def _notes(fitting: "Fitting", found: Sequence[Candidate], best: int, tokens: StoredTokens | None) -> list[str]:
    """What a reader should know."""
    said = [*fitting.data.notes, *fitting.notes, *_labels_and_modalities(fitting)]
    if tokens is not None:
        said.append(
            "Trained on stored tokens (float16, each number off by at most 0.05 %), without augmentation: what an "
            "encoder says of a patch depends on the whole slice, so tokens cannot be turned or flipped exactly."
        )
    if not len(fitting.val):
        said.append(
            "No case to choose on: train has too few patients to draw val from, so the first learning rate was "
            "trained for the whole schedule."
        )
    elif np.isnan(found[best].dice):
        said.append("Dice is undefined on val, where no case has a label; the first learning rate was taken.")
    else:
        said += training_notes(found[best].trained, chooses=True)
    said += [note for each in found for note in each.trained.notes]
    said += [left_out(rate, reason) for rate, reason in fitting.diverged.items()]
    return list(dict.fromkeys(said))


def _labels_and_modalities(fitting: "Fitting") -> list[str]:
    cohort, rows = fitting.problem.cohort, fitting.train
    unseen = [name for place, name in enumerate(fitting.data.labels.values(), 1) if not fitting.pixels[place]]
    said = [f"Label {name!r} is on no plane that was learned from, so it cannot be found." for name in unseen]
    for name, share in zip(cohort.modalities, cohort.presence[rows].mean(axis=0), strict=True):
        if not share:
            said.append(f"No training case has {name}; left out.")
        elif share < 1:
            missing = round((1 - share) * len(rows))
            said.append(f"{name} is missing in {missing} training cases; a learned vector stands in for it.")
    return said
