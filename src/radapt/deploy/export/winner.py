"""Which cell of a run is exported: the best by val or by inner folds, or the one that is asked for."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from radapt.deploy.deployment import ScoredCandidate, Selection
from radapt.deploy.export.candidates import INNER, NONE, VAL, RunCell, loss_of, run_cells
from radapt.errors import UsageError, suggest


def choose_cell(
    run: Path, *, method: str | None = None, cell: str | None = None, cohort: str | None = None
) -> tuple[RunCell, Selection]:
    """The cell to export and why.

    Without `cell` the methods of one cohort and one aim are compared by their mean over seeds, of those that kept a
    model; controls and points of learning curves take part only where `method` names them. Of the method the seed with
    the best score is taken. No test set and no out-of-fold score is looked at.

    Raises UsageError for an unknown name, several cohorts or aims without a choice, and where nothing has a score.
    """
    cells = run_cells(run)
    if cell is not None:
        return _asked(cells, cell)
    cells = _of_cohort(cells, cohort)
    if method is not None:
        named = [each for each in cells if each.calls(method)]
        if not named:
            raise UsageError(
                f"There is no finished method {method!r}. {suggest(method, sorted({each.label for each in cells}))}"
            )
        cells = named
    else:
        cells = [each for each in cells if not each.control and not each.few_labels]
    kept = [each for each in cells if each.models]
    if not kept:
        raise UsageError("None of the finished methods kept a model that can be exported. Run the study again.")
    if len(aims := sorted({each.aim for each in kept})) > 1:
        raise UsageError(
            f"The run has methods for {' and for '.join(aims)}, which do not compare. Choose one with --method: "
            f"{', '.join(sorted({each.method for each in kept}))}."
        )
    return _best(kept, method)


def _asked(cells: Sequence[RunCell], cell: str) -> tuple[RunCell, Selection]:
    found = [each for each in cells if each.id.startswith(cell)]
    if len(found) != 1:
        what = "several finished cells begin" if found else "no finished cell begins"
        raise UsageError(f"--cell {cell}: {what} with it. {suggest(cell, [each.id for each in cells])}")
    one = found[0]
    if not one.models:
        raise UsageError(f"Cell {one.id} ({one.method}) kept no model, so it cannot be exported.")
    why = f"{one.method} was asked for by its cell."
    return one, Selection(why, one.metric, NONE, (_scored(one, None),))


def _of_cohort(cells: Sequence[RunCell], cohort: str | None) -> list[RunCell]:
    names = sorted({each.cohort for each in cells})
    if cohort is None and len(names) > 1:
        raise UsageError(f"The run has several cohorts: {', '.join(names)}. Choose one with --cohort.")
    if cohort is not None and cohort not in names:
        raise UsageError(f"--cohort {cohort}: {suggest(cohort, names)}")
    return [each for each in cells if cohort in (None, each.cohort)]


def _best(cells: Sequence[RunCell], method: str | None) -> tuple[RunCell, Selection]:
    source = next((name for name in (INNER, VAL) if all(name in each.scores for each in cells)), None)
    scored = list(cells)
    if source is None:  # what was scored at all; a method without any score is not compared
        source = max((INNER, VAL), key=lambda name: sum(name in each.scores for each in cells))
        scored = [each for each in cells if source in each.scores]
    if not scored:
        return _unscored(cells, method)
    metric = scored[0].metric
    methods = defaultdict[str, list[RunCell]](list)
    for each in scored:
        methods[each.method].append(each)
    ranked = sorted(methods, key=lambda name: (_mean_loss(methods[name], source), name))
    winner = min(methods[ranked[0]], key=lambda each: (loss_of(metric, each.scores[source]), each.seed, each.id))
    candidates = tuple(_scored(each, each.scores.get(source)) for each in cells)
    return winner, Selection(
        _why(ranked, methods, source, metric, len(cells) - len(scored)), metric, source, candidates
    )


def _unscored(cells: Sequence[RunCell], method: str | None) -> tuple[RunCell, Selection]:
    names = sorted({each.method for each in cells})
    if method is None or len(names) > 1:
        raise UsageError(
            "Nothing in this run was scored on val or by inner folds, and a test set must not choose. Name the method "
            f"with --method, or the cell with --cell: {', '.join(f'{each.method} ({each.id})' for each in cells)}."
        )
    first = min(cells, key=lambda each: (each.seed, each.id))
    why = f"{first.method} was asked for; nothing was scored on val or by inner folds, so its first seed was taken."
    return first, Selection(why, first.metric, NONE, tuple(_scored(each, None) for each in cells))


def _why(ranked: Sequence[str], methods: dict[str, list[RunCell]], source: str, metric: str, without: int) -> str:
    best = ranked[0]
    where = "on val" if source == VAL else "in inner folds of the training patients"
    text = f"{best} has the best {metric} {where}, {_mean(methods[best], source):.3f}"
    if len(methods[best]) > 1:
        text += f" over {len(methods[best])} seeds, of which the best was taken"
    if len(ranked) > 1:
        text += f"; next is {ranked[1]} with {_mean(methods[ranked[1]], source):.3f}"
    else:
        text += "; no other method was compared"
    if without:
        text += f". {without} finished cells have no such score and were not compared"
    return f"{text}. No test set was looked at."


def _mean(cells: Sequence[RunCell], source: str) -> float:
    return sum(each.scores[source] for each in cells) / len(cells)


def _mean_loss(cells: Sequence[RunCell], source: str) -> float:
    return loss_of(cells[0].metric, _mean(cells, source))


def _scored(cell: RunCell, score: float | None) -> ScoredCandidate:
    return ScoredCandidate(cell.label, cell.backbone, cell.id, cell.seed, score)
