"""Numbers as a CSV file: `step,name,value`, a row per number, written as they come."""

import csv
from collections.abc import Mapping
from pathlib import Path

from radapt.durable import write_json
from radapt.trackers.tracked_run import TrackedRun

_HEAD = "step,name,value\n"


class CsvRun(TrackedRun):
    """`<folder>/<run>.csv`, and `<run>.json` with what the run is."""

    def __init__(self, folder: Path, run: str, title: str) -> None:
        self._path = folder / f"{run}.csv"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        super().__init__()
        self._file = self._path.open("a", encoding="utf-8", newline="")
        if self._path.stat().st_size == 0:
            self._file.write(_HEAD)
        self._title = title

    def describe(self, facts: Mapping[str, str]) -> None:
        write_json(self._path.with_suffix(".json"), {"title": self._title, **facts})

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def _read(self) -> dict[str, int]:
        """Also removes the end of a line that a kill cut off."""
        if not self._path.is_file():
            return {}
        text = self._path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            self._path.write_text(whole, encoding="utf-8")
        last: dict[str, int] = {}
        for row in csv.DictReader(whole.splitlines()):
            last[row["name"]] = max(int(row["step"]), last.get(row["name"], -1))
        return last

    def _write(self, step: int, numbers: Mapping[str, float]) -> None:
        writer = csv.writer(self._file, lineterminator="\n")
        writer.writerows([step, name, repr(value)] for name, value in numbers.items())
        self._file.flush()  # a row that is only in memory would be written again after a kill
