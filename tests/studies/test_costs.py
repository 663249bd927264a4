"""What a plan says that a study costs, from timed runs on few patients."""

from dataclasses import replace
from pathlib import Path

import pytest

from radapt.cohorts import load_cohort
from radapt.parsing.json import read_json
from radapt.protocols.length import Length, searched
from radapt.studies import Ledger, Plan, Prices, Settings, estimate, plan_study, plan_text, read_study, run_study
from radapt.studies.costs.pilots import Pilots, pilots_of, ready
from radapt.studies.costs.samples import Sample, Workload, extrapolate, few_patients
from toy_study import write_cohort, write_study

NANO = [{"name": "nano", "as": "vit-nano", "weights": "random", "dtype": "float32"}]


def made(runs: list[tuple[int, int]], *, by_steps: bool = False) -> list[Sample]:
    """Half the cases are trained on: reading takes 2 s and 0.5 s a case, training 1 s and 0.01 s a case and epoch, or
    0.1 s a case, of all validation passes, and 0.01 s a step."""
    found = []
    for cases, length in runs:
        training = cases / 2 * 0.1 + 0.01 * length if by_steps else 1 + 0.01 * cases / 2 * length
        found.append(Sample(Workload(cases, cases // 2), 2 + 0.5 * cases + training, training, length))
    return found


def test_the_lines_through_timed_runs() -> None:
    by_epochs = extrapolate(made([(12, 1), (24, 4)]), Workload(1000, 500), 50)
    assert by_epochs == pytest.approx(2 + 500 + 1 + 0.01 * 500 * 50)
    by_steps = extrapolate(made([(12, 10), (24, 80)], by_steps=True), Workload(1000, 500), 400, by_steps=True)
    assert by_steps == pytest.approx(2 + 500 + 50 + 4)
    probe = [Sample(Workload(n, n), 0.2 + 0.05 * n) for n in (12, 24)]
    assert extrapolate(probe, Workload(100, 100), 0) == pytest.approx(5.2)


def test_one_timed_run_is_taken_for_proportional() -> None:
    (only,) = made([(10, 2)])
    assert extrapolate([only], Workload(100, 50), 4) == pytest.approx(10 * 7 + 1.1 * 10 * 2)


def test_more_cases_never_take_less_time() -> None:
    noisy = [Sample(Workload(12, 12), 1.0), Sample(Workload(24, 24), 0.9)]
    assert 0.9 <= extrapolate(noisy, Workload(1000, 1000), 0) <= 1.0


def test_early_stopping_is_expected_halfway_on_a_scale_of_ratios() -> None:
    assert Length.within(100, None, 16, 50, patience=24).value == pytest.approx(50)
    assert Length.within(100, 40, 16, 50, patience=24).value == pytest.approx(10), "of 40 steps, 4 in an epoch"
    assert Length.within(10, None, 16, 50, rates=searched(3), patience=24).value == pytest.approx(10 * 2.4)


def test_work_counts_what_outer_folds_train_on(tmp_path: Path) -> None:
    cohort = load_cohort(write_cohort(tmp_path, patients=36))
    tested = sum(case.split in ("test", "elsewhere") for case in cohort)
    assert Workload.of(cohort) == Workload(36, 36 - tested)
    folded = replace(
        cohort,
        cases=tuple(replace(case, split="train", fold=str(at // 2 % 5)) for at, case in enumerate(cohort)),
        folds=tuple("01234"),
    )
    assert Workload.of(folded) == Workload(36, 36 * 4)
    few = few_patients(folded, 12)
    assert Workload.of(few) == Workload(12, 12)
    assert few.folds == ("0", "1")


def test_few_patients_are_split_as_all_are(tmp_path: Path) -> None:
    cohort = load_cohort(write_cohort(tmp_path, patients=48))
    few = few_patients(cohort, 12)
    assert len(few) == 12
    for split in ("train", "val", "test", "elsewhere"):
        own = few.splits == split
        assert own.sum() == (cohort.splits == split).sum() / 4
        assert set(few.labels[own]) == {0, 1}


def test_energy_and_money_by_hand() -> None:
    assert Prices(watts=200, per_hour=0.5).of(7200) == "2.0 h, 0.4 kWh, 1.00 EUR"
    assert Prices(watts=60).of(60) == "60 s, 1 Wh"


def planned(folder: Path, **changes: object) -> tuple[Plan, Ledger, Settings]:
    study = write_study(folder, [write_cohort(folder, patients=36)], backbones=NANO, **changes)
    settings = Settings(cache=folder / "cache", offline=True)
    return plan_study(read_study(study), settings), Ledger(folder / "run"), settings


@pytest.mark.parametrize(("encoded", "timed"), [([12], {6, 12}), ([12, 24], {12, 24})])
def test_cells_of_stored_features_and_tokens_are_timed_on_patients_that_were_encoded(
    encoded: list[int], timed: set[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run encodes them before the cells. Where 24 patients would take too long, a half of the first 12 is timed."""
    image = {"size": 32, "slices": {"count": 2}}  # that a fusion reads all of, in one pass with the features
    plan, _, settings = planned(tmp_path, protocols=["linear", {"mmdino": {"trained": "fusion"}}], image=image)
    counts = set()

    def count_of(*given: object, **_: object) -> tuple[Sample, int]:
        counts.add(given[2])
        return Sample(Workload(12, 12), 0.1), 1

    monkeypatch.setattr(Pilots, "_timed", count_of)
    with pilots_of(plan, settings) as pilots:
        for cell in plan.cells:
            assert cell.encoder is not None
            used = ready(cell.encoder, cell.prepared.recipe.size, settings)
            pilots._extracted[used.encoder.entry.name, cell.prepared.cohort.name, cell.prepared.image.name] = encoded
            counts.clear()
            pilots.cell(cell, used)
            assert counts == timed, cell.title
        few, half = (pilots.few(cell.prepared, count) for count in (12, 6))
        assert {case.case for case in half.cohort} < {case.case for case in few.cohort}
        rooms = {count: pilots.cache_of(cell.prepared, count) for count in (6, 12, 24)}
        assert rooms[12] == rooms[6] != rooms[24]


@pytest.mark.slow
def test_a_plan_foresees_each_cell_and_leaves_nothing(tmp_path: Path) -> None:
    long = {"lora": {"lr": 1e-3, "epochs": 1000, "slices_per_case": None}}
    short = {"lora": {"lr": 1e-3, "epochs": 1000, "slices_per_case": None, "batch": 9, "steps": 5}}
    plan, ledger, settings = planned(tmp_path, protocols=["knn", long, short])
    (cost,) = estimate(plan, ledger, settings)
    probe, whole, capped = (cost.unfinished[cell.id] for cell in cost.cells)
    assert probe is not None
    assert whole is not None
    assert capped is not None
    assert whole.seconds > 20 * capped.seconds
    assert cost.encoding is not None
    assert cost.encoding.bytes > 36 * 5 * 32 * 32, "planes and features are kept"
    assert cost.seconds > whole.seconds + cost.encoding.seconds
    text = plan_text([cost], plan, Prices(50, 2.0), 1.25)
    assert "3 cells, 0 of them finished; about " in text
    assert "EUR, at 50 W" in text
    assert "1.2 GiB of memory" in text
    assert not ledger.folder.exists()
    assert [path.name for path in settings.cache.iterdir() if path.name.startswith(".")] == []


def test_a_seed_that_ran_tells_what_the_next_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, ledger, settings = planned(tmp_path, protocols=["knn"])
    run_study(plan.study, ledger.folder, settings)
    (first,) = plan.cells
    taken = read_json(ledger.cell(first.id) / "done.json")["seconds"]
    monkeypatch.setattr(Pilots, "cell", lambda *_: pytest.fail("measured again"))
    two = plan_study(plan.study.model_copy(update={"seeds": [0, 1]}), settings)
    (cost,) = estimate(two, ledger, settings)
    assert [known and known.seconds for known in cost.unfinished.values()] == [taken]
    assert "2 cells, 1 of them finished" in plan_text([cost], two)


def test_what_a_few_patients_cannot_show_is_unknown(tmp_path: Path) -> None:
    plan, ledger, settings = planned(tmp_path, protocols=[{"fewshot": {"shots": [1], "repeats": 2}}])
    for case in plan.cells[0].prepared.cohort:
        for location in case.images.values():
            location.path.write_bytes(b"")
    (cost,) = estimate(plan, ledger, settings)
    assert cost.encoding is None
    assert set(cost.unfinished.values()) == {None}
    assert "2 cells whose time is unknown" in plan_text([cost], plan)
