"""Rows whose pretraining lists the data set are marked, and stand below all others."""

from radapt.reports.leaderboard import leaderboards
from radapt.reports.run_folder import read_run
from radapt.reports.study_report import write_report
from radapt.reports.terminal_table import terminal_table


def test_a_contaminated_row_is_ranked_apart(toy_run, toy_cohort) -> None:
    toy = toy_cohort()
    toy_run.cohort(toy).backbone("rad-dino").backbone("dinov2-s").backbone("ours", pretraining=[], licence="MIT")
    toy_run.cell(toy, "rad-dino", skill=1.5, contamination="listed", use="commercial")
    toy_run.cell(toy, "dinov2-s", skill=0.5, contamination="not listed", use="non-commercial")
    toy_run.cell(toy, "ours", skill=0.2, contamination="unknown", use="unknown")
    run = read_run(toy_run.finish())
    board = next(board for board in leaderboards(run) if board.split == "test")
    assert [row.method.backbone for row in board.metrics["auroc"]] == ["dinov2-s", "ours", "rad-dino"]
    assert board.metrics["auroc"][2].value > board.metrics["auroc"][0].value
    assert "rad-dino with linear (pretrained on it)" in terminal_table(board)
    page = write_report(run.path).read_text("utf-8")
    row = page[page.index('data-sort="rad-dino"') - 80 :]
    assert '<td class="rank"></td>' in row[:80]
    assert "pretrained on this data set</span>" in row[:700]
    assert page.count("pretraining unknown</span>") == page.count("pretrained on this data set</span>")
    assert "non-commercial</span>" in page
    assert "not known: whether it saw these patients cannot be said" in page
    assert "commercial use allowed" in page
