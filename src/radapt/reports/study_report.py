"""Writes `report.html` of a run folder: one self-contained page that fetches nothing."""

from functools import cache
from pathlib import Path

from radapt.durable import write_text
from radapt.reports.cohort_chapter import cohort_chapter
from radapt.reports.leaderboard import leaderboards
from radapt.reports.methods import methods_of
from radapt.reports.metric_info import metric_of, ordered
from radapt.reports.plot_data import metric_facts
from radapt.reports.run_folder import Run, read_run
from radapt.reports.templating import REPORT_FILE, asset, has_random_weights, render
from radapt.versions import __version__


def write_report(run: Path) -> Path:
    """(Re)write `report.html` in the run folder `run` and return its path.

    Reads the run folder only, whether finished or not; the same folder gives the same bytes. Raises UsageError if `run`
    is not a run folder, DataError if a file in it is damaged.
    """
    folder = Path(run)
    write_text(folder / REPORT_FILE, _page(read_run(folder)))
    return folder / REPORT_FILE


def _page(run: Run) -> str:
    boards, methods = leaderboards(run), methods_of(run)
    names = sorted({*run.cohorts, *(board.cohort for board in boards), *(cell.cohort for cell in run.cells)})
    chapters = [
        cohort_chapter(run, name, index, [board for board in boards if board.cohort == name], methods)
        for index, name in enumerate(names)
    ]
    metrics = ordered({name for board in boards for name in board.metrics})
    data = {
        "metrics": metric_facts(metrics),
        "metric": chapters[0].primary if chapters else None,
        "backbones": sorted({method.backbone for method in methods}),
        "sections": [section.plots for chapter in chapters for section in chapter.sections],
    }
    return render(
        "study_report.html",
        (_plotly(), asset("report.js")),
        run=run,
        version=__version__,
        chapters=chapters,
        metrics=[metric_of(name) for name in metrics],
        random_weights=[name for name, facts in run.backbones.items() if has_random_weights(facts)],
        synthetic=[chapter.name for chapter in chapters if chapter.synthetic],
        seconds=sum(float((cell.done or {}).get("seconds") or 0) for cell in run.cells),
        waiting=run.count("waiting") + run.unnamed,
        data=data,
    )


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    # Browsers turn CR LF into LF before they hash, and a closing tag inside the script would end it.
    return str(get_plotlyjs()).replace("\r\n", "\n").replace("</script", "<\\/script")
