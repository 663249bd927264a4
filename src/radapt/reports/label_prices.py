"""How many labelled patients the methods of a run need to reach a target, from their learning curves."""

import math

from radapt.errors import UsageError
from radapt.metrics.label_price import LabelPrice, label_price
from radapt.metrics.metric import metric_name
from radapt.reports.formatting import counted, shown
from radapt.reports.learning_curves import CurvePoint, LearningCurve, learning_curve_sets
from radapt.reports.methods import methods_of
from radapt.reports.metric_info import metric_of
from radapt.reports.run_folder import Run

_NORMAL = 1.96  # half the width of a 95 % interval in standard errors


def label_prices(run: Run, target: float, metric: str | None = None) -> list[str]:
    """A sentence for every learning curve of the run. `metric` None: the leading one.

    Raises UsageError without a learning curve with the metric, and DataError for a target beyond its range.
    """
    methods = methods_of(run)
    lines, names = [], set()
    for cohort in dict.fromkeys(method.cohort for method in methods):
        own = [method for method in methods if method.cohort == cohort and not method.control and not method.foreign]
        primary = "dice" if own and own[0].aim == "segmentation" else "auroc"
        for curves in learning_curve_sets(run, own, primary):
            chosen = metric or curves.primary
            names |= {name for curve in curves.curves for point in curve.points for name in point.numbers}
            found = [(curve, _price(curve, chosen, target)) for curve in curves.curves if _has(curve, chosen)]
            title = f"{metric_of(chosen).title} on {cohort}, {curves.split}:"
            lines += [title, *(f"  {_sentence(curve, price, chosen)}" for curve, price in found)] if found else []
    if not lines:
        has = f" Its learning curves have {', '.join(sorted(names))}." if names else ""
        raise UsageError(
            f"{run.path} has no learning curve{f' of {metric}' if metric and names else ''}.{has} "
            "Protocols with fewshot: or fraction: give one."
        )
    return lines


def _has(curve: LearningCurve, metric: str) -> bool:
    return any(metric in point.numbers for point in curve.points)


def _price(curve: LearningCurve, metric: str, target: float) -> LabelPrice:
    points = [point for point in curve.points if metric in point.numbers and not math.isnan(point.labelled)]
    info, sign = metric_of(metric_name(metric)), -1 if metric_of(metric_name(metric)).smaller_is_better else 1
    best = -info.low if sign < 0 else float(info.high or 1)
    values = [sign * point.numbers[metric][0] for point in points]
    errors = [_error(point, metric) for point in points]
    return label_price([point.labelled for point in points], values, errors, sign * target, best=best)


def _error(point: CurvePoint, metric: str) -> float:
    _, low, high = point.numbers[metric]
    return (high - low) / (2 * _NORMAL)


def _sentence(curve: LearningCurve, price: LabelPrice, metric: str) -> str:
    target = shown(abs(price.target), metric_of(metric).digits)
    tried = counted(round(price.tried), "labelled patient")
    more = [max(0.0, number - price.tried) for number in (price.needed, price.low, price.high)]
    number, low, high = (f"{end:,.0f}" if math.isfinite(end) else "no number" for end in more)
    upper = f"to {high}" if math.isfinite(more[2]) else "without an upper end"
    said = {
        "reached": f"reaches {target} with the {tried} tried.",
        "more labels": f"needs about {number} more labelled patients than the {tried} tried to reach {target} (95 % "
        f"interval {low} {upper}; reachable at all with a probability of {100 * price.reachable:.0f} %).",
        "flat": f"does not show that labels help, up to {tried}; how many {target} needs cannot be said.",
        "unreachable": f"does not reach {target} by more labels of this kind, by the curve up to {tried}.",
        "unknown": "has fewer than three sizes with an interval and a known number of patients; a curve needs three.",
    }[price.outcome]
    return f"{curve.name} {said}"
