"""Every subset of sequences: what is asked, who answers, what each sequence brings, what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from radapt.cohorts.cohort import Case, Cohort
from radapt.errors import DataError, UsageError
from radapt.locations import Location
from radapt.metrics import auroc, mcc
from radapt.protocols.fitted import Fitted, Model, SubsetModel
from radapt.protocols.scoring import score_fitted
from radapt.protocols.subset_inference import Answers
from radapt.protocols.subsets import SHARED, score_subsets, subset_name
from toy_record import toy_record

NAMES = ("t1", "t2", "flair")


def make_cohort(
    labels: np.ndarray, present: np.ndarray, *, split: str = "test", sites: tuple[str | None, ...] = (None,)
) -> Cohort:
    several = labels.ndim == 2
    cases = tuple(
        Case(
            case=f"c{i}",
            patient=f"p{i // 2}",
            split=split if i < len(labels) - 2 else "train",
            images={name: Location(Path(f"{i}-{name}")) for name, has in zip(NAMES, present[i], strict=True) if has},
            site=sites[i % len(sites)],
            label=None if several or label < 0 else int(label),
            findings=tuple(None if np.isnan(value) else int(value) for value in label) if several else (),
        )
        for i, label in enumerate(labels)
    )
    outputs = ("a", "b", "c")[: labels.shape[1] if several else int(labels.max()) + 1]
    return Cohort("toy", "mri", cases, NAMES, **({"findings": outputs} if several else {"classes": outputs}))


class Weights:
    """Each sequence votes for the truth with a weight of its own; writes down what it was asked."""

    def __init__(self, cohort: Cohort, weight: dict[str, float], noise: float = 1.0) -> None:
        self.cohort, self.weight = cohort, weight
        rng = np.random.default_rng(1)
        self.votes = {name: rng.normal(0, noise, (len(cohort), len(cohort.outputs))) for name in NAMES}
        self.asked: list[tuple[tuple[int, ...], tuple[str, ...]]] = []

    def __call__(self, rows: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
        self.asked.append((tuple(rows.tolist()), names))
        truth = self.cohort.labels[rows]
        right = np.nan_to_num(truth) if truth.ndim == 2 else truth[:, None] == np.arange(len(self.cohort.outputs))
        there = {name: [name in self.cohort.cases[row].images for row in rows] for name in names}
        seen = [name for name in names if self.weight[name]]
        votes = (self.weight[name] * right + self.votes[name][rows] for name in seen)
        logits = sum(
            (vote * np.array(there[name])[:, None] for name, vote in zip(seen, votes, strict=True)),
            start=np.zeros(np.shape(right)),
        )
        if truth.ndim == 2:
            return 1 / (1 + np.exp(-np.asarray(logits)))
        return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def setting(cases: int = 60, missing: float = 0.3, **more: object) -> tuple[Cohort, Weights, np.ndarray]:
    rng = np.random.default_rng(0)
    labels, present = rng.integers(0, 3, cases), rng.random((cases, 3)) >= missing
    cohort = make_cohort(labels, present, **more)  # type: ignore[arg-type]
    return cohort, Weights(cohort, {"t1": 0.5, "t2": 1.0, "flair": 2.0}), np.array([0.5, 0.3, 0.2])


def judged(cohort: Cohort, predict: object, prior: np.ndarray, names: tuple[str, ...] = NAMES, resamples: int = 40):
    return score_subsets(predict, cohort, names, np.random.default_rng(0), resamples, prior)  # type: ignore[arg-type]


def test_each_distinct_question_is_asked_once() -> None:
    cohort, predict, prior = setting()
    judged(cohort, predict, prior)
    pairs = [(row, names) for rows, names in predict.asked for row in rows]
    assert len(pairs) == len(set(pairs))
    assert all(set(names) <= set(cohort.cases[row].images) for row, names in pairs)
    tested = [case for case in cohort if case.split == "test"]
    assert len(pairs) == sum(2 ** len(case.images) - 1 for case in tested)


def test_every_subset_is_scored_as_if_the_rest_were_missing() -> None:
    cohort, predict, prior = setting()
    scores = judged(cohort, predict, prior).scores
    rows = np.flatnonzero(cohort.splits == "test")
    assert set(scores["subset"]) == {
        "", "t1", "t2", "flair", "t1 + t2", "t1 + flair", "t2 + flair", "t1 + t2 + flair"
    }  # fmt: skip
    for names in (("t1",), ("t2", "flair"), NAMES):
        bare = [not set(names) & set(cohort.cases[row].images) for row in rows]
        answers = np.where(np.array(bare)[:, None], prior, predict(rows, names))
        own = scores[scores["subset"] == subset_name(names)].set_index("metric")
        assert own.loc["mcc", "value"] == pytest.approx(mcc(cohort.labels[rows], answers.argmax(1)))
        assert own.loc["auroc:b", "value"] == pytest.approx(auroc(cohort.labels[rows] == 1, answers[:, 1]))
        assert (own["n_without"] == sum(bare)).all()
        assert (own["n_sequences"] == len(names)).all()
        assert (own["has_t1"] == ("t1" in names)).all()
        assert (own.loc["mcc", "n_patients"], own.loc["mcc", "n_scored"]) == (29, 58)


def test_without_any_image_everybody_is_answered_with_the_prior() -> None:
    cohort, predict, prior = setting()
    nothing = judged(cohort, predict, prior).scores.query("subset == ''").set_index("metric")
    assert nothing.loc[["mcc", "auroc", "auroc:a"], "value"].tolist() == [0, 0.5, 0.5]
    assert nothing.loc["balanced_accuracy", "value"] == pytest.approx(1 / 3)
    assert (nothing["n_without"] == 58).all()


def test_shares_add_up_and_absence_is_a_paired_difference() -> None:
    cohort, predict, prior = setting()
    result = judged(cohort, predict, prior, resamples=200)
    value = result.scores.set_index(["subset", "metric"])["value"]
    for metric in SHARED:
        own = result.shapley[result.shapley["metric"] == metric]
        parts, total = own[own["modality"].notna()], own[own["modality"].isna()]
        gain = value["t1 + t2 + flair", metric] - value["", metric]
        assert parts["value"].sum() == pytest.approx(gain) == pytest.approx(total["value"].item())
        lost = result.absence[result.absence["metric"] == metric].set_index("modality")["value"]
        assert lost["flair"] == pytest.approx(value["t1 + t2 + flair", metric] - value["t1 + t2", metric])
        assert lost[lost.index.isna()].item() == pytest.approx(lost[lost.index.notna()].mean())
    both = pd.concat([result.shapley, result.absence])
    assert (both["ci_low"] <= both["value"]).all()
    assert (both["value"] <= both["ci_high"]).all()
    best = result.shapley.query("metric == 'mcc'").set_index("modality")["value"]
    assert best["flair"] > best["t2"] > best["t1"]
    has = cohort.presence[cohort.splits == "test"]
    assert result.absence.query("metric == 'mcc'")["n_with"].tolist() == [*has.sum(0), has.any(1).sum()]


def test_a_sequence_that_is_not_looked_at_or_nobody_has_costs_nothing_for_certain() -> None:
    cohort, predict, prior = setting()
    predict.weight["t1"] = 0.0
    present = cohort.presence.copy()
    present[:, 2] = False
    bare = make_cohort(cohort.labels, present)
    for name, given in (("t1", cohort), ("flair", bare)):
        predict.cohort = given
        result = judged(given, predict, prior)
        own = pd.concat([result.shapley, result.absence]).query("modality == @name and metric != 'f1'")
        if name == "flair":
            assert (own[["value", "ci_low", "ci_high"]].abs() < 1e-12).all().all()
        else:  # alone it answers without preference, not with the prior: only that counts
            assert (result.absence.query("modality == @name")["value"].abs() < 0.2).all()


def test_the_order_of_the_sequences_changes_nothing_but_the_order_of_the_rows() -> None:
    cohort, predict, prior = setting()
    first, second = (judged(cohort, predict, prior, names) for names in (NAMES, NAMES[::-1]))
    for quantity in ("shapley", "absence"):
        tables = [
            getattr(result, quantity).dropna(subset="modality").sort_values(["metric", "modality"], ignore_index=True)
            for result in (first, second)
        ]
        pd.testing.assert_frame_equal(*tables, rtol=1e-12)
    a, b = (result.scores.query("n_sequences == 3").reset_index(drop=True) for result in (first, second))
    pd.testing.assert_frame_equal(a[["metric", "value", "ci_low"]], b[["metric", "value", "ci_low"]])


def test_a_subset_of_the_sequences_the_cohort_has_can_be_scored() -> None:
    cohort, predict, prior = setting()
    result = judged(cohort, predict, prior, ("flair", "t1"))
    assert set(result.scores["subset"]) == {"", "flair", "t1", "flair + t1"}
    assert "has_t2" not in result.scores
    assert {names for _, names in predict.asked} == {("flair",), ("t1",), ("flair", "t1")}


def test_several_sites_are_told_apart_and_one_is_not_repeated() -> None:
    cohort, predict, prior = setting(sites=("here", "there"))
    result = judged(cohort, predict, prior)
    counts = result.scores.query("metric == 'accuracy' and n_sequences == 3").set_index("site")["n_scored"]
    assert counts.to_dict() == {np.nan: 58, "here": 29, "there": 29} or counts.tolist() == [58, 29, 29]
    rows = np.flatnonzero((cohort.splits == "test") & (np.arange(60) % 2 == 1))
    answers = predict(rows, NAMES)
    bare = ~cohort.presence[rows].any(axis=1)
    answers[bare] = prior
    own = result.scores.query("site == 'there' and n_sequences == 3 and metric == 'mcc'")["value"].item()
    assert own == pytest.approx(mcc(cohort.labels[rows], answers.argmax(1)))
    assert set(result.shapley["site"].dropna()) == {"here", "there"}
    cohort, predict, prior = setting(sites=("here",))
    assert judged(cohort, predict, prior).scores["site"].isna().all()


def test_findings_with_unknown_truths() -> None:
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 2, (50, 2)).astype(float)
    labels[rng.random(labels.shape) < 0.2] = np.nan
    labels[:4] = np.nan
    cohort = make_cohort(labels, rng.random((50, 3)) < 0.7)
    predict = Weights(cohort, dict.fromkeys(NAMES, 1.0))
    result = judged(cohort, predict, np.array([0.4, 0.6]))
    assert not {0, 1, 2, 3} & {row for rows, _ in predict.asked for row in rows}
    assert result.shapley.query("metric == 'auroc'")["value"].notna().all()
    assert {"auroc:a", "sensitivity:b"} <= set(result.scores["metric"])


def test_val_is_scored_only_where_no_test_set_has_labels() -> None:
    cohort, predict, prior = setting(split="val")
    assert set(judged(cohort, predict, prior).scores["split"]) == {"val"}
    cohort, predict, prior = setting(split="external")
    mixed = replace(cohort, cases=tuple(replace(c, split="val") if i < 9 else c for i, c in enumerate(cohort.cases)))
    assert set(judged(mixed, predict, prior).scores["split"]) == {"external"}


def test_a_test_set_of_one_class_has_no_mcc_but_counts() -> None:
    cohort, predict, prior = setting()
    cases = tuple(replace(c, label=0 if c.split == "test" else 2) for c in cohort.cases)
    result = judged(replace(cohort, cases=cases), predict, prior)
    assert result.shapley["value"].isna().all()
    assert (result.shapley["n_patients"] == 0).all()
    row = result.scores.query("metric == 'mcc'").iloc[0]
    assert (row["n_scored"], row["n_unscored"], row["n_undefined"]) == (0, 58, 1)


def test_the_same_generator_gives_the_same_tables_and_files(tmp_path: Path) -> None:
    cohort, predict, prior = setting()
    first, second = (judged(cohort, predict, prior) for _ in range(2))
    pd.testing.assert_frame_equal(first.scores, second.scores)
    first.write(tmp_path)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "subsets.parquet"), first.scores, check_dtype=False)
    table = pd.read_parquet(tmp_path / "shapley.parquet")
    assert set(table["quantity"]) == {"shapley", "absence"}
    assert table.columns.tolist() == [
        "quantity", "split", "site", "modality", "metric", "value", "ci_low", "ci_high", "n_patients", "n_with"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("t1", "FLAIR"), "no sequence 'FLAIR' to evaluate. Did you mean 'flair'?"),
        ((), "must be named once each; got none"),
        (("t1", "t1"), "must be named once each"),
    ],
)
def test_sequences_that_cannot_be_scored(names: tuple[str, ...], message: str) -> None:
    cohort, predict, prior = setting()
    with pytest.raises(UsageError) as error:
        judged(cohort, predict, prior, names)
    assert message in str(error.value)
    assert not predict.asked


def test_more_than_twelve_sequences_are_refused() -> None:
    cohort, predict, prior = setting()
    names = tuple(f"m{i}" for i in range(13))
    with pytest.raises(UsageError, match="13 sequences have 8,192 subsets"):
        judged(replace(cohort, modalities=names), predict, prior, names)


def test_nothing_to_score() -> None:
    cohort, predict, prior = setting()
    blank = replace(cohort, cases=cohort.unlabelled)
    with pytest.raises(DataError, match="no labelled case in val"):
        judged(blank, predict, prior)
    with pytest.raises(UsageError, match="no classes or findings"):
        judged(replace(blank, classes=()), predict, prior)


def test_answers_of_a_wrong_shape_are_refused() -> None:
    cohort, predict, prior = setting()
    with pytest.raises(DataError, match="cases × outputs"):
        judged(cohort, lambda rows, names: np.full((len(rows), 2), 0.5), prior)
    with pytest.raises(DataError, match="The prior has shape"):
        judged(cohort, predict, prior[:2])
    with pytest.raises(DataError, match="NaN probability"):
        judged(cohort, lambda rows, names: np.full((len(rows), 3), np.nan), prior)


def test_progress_counts_every_answer() -> None:
    from contextlib import contextmanager

    cohort, predict, prior = setting()
    seen: list[int] = []

    @contextmanager
    def count(total: int, label: str, unit: str):
        seen.append(-total)
        yield seen.append

    Answers.ask(predict, cohort, NAMES, np.arange(10), prior, count)
    assert sum(seen) == 0
    assert seen[0] < 0


def test_a_model_that_answers_from_any_subset_is_scored_on_every_one() -> None:
    cohort, votes, votes_prior = setting(missing=0.0)

    class Answering(SubsetModel):
        modalities, prior = NAMES, votes_prior

        def predict(self, rows: np.ndarray) -> np.ndarray:
            return votes(rows, NAMES)

        def predict_from(self, rows: np.ndarray, modalities: tuple[str, ...]) -> np.ndarray:
            return votes(rows, modalities)

    class Plain(Model):
        predict = Answering.predict

    model = Answering()
    result = score_fitted(cohort, "toy", Fitted(model, model, toy_record()), np.random.default_rng(0), 50)
    assert result.subsets is not None
    every = result.subsets.scores.query("n_sequences == 3").set_index("metric")["value"]
    pd.testing.assert_series_equal(every, result.scores.set_index("metric")["value"])
    plain = score_fitted(cohort, "toy", Fitted(Plain(), Plain(), toy_record()), np.random.default_rng(0), 50)
    assert plain.subsets is None
    pd.testing.assert_frame_equal(plain.scores, result.scores)
