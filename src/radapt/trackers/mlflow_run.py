"""Numbers in MLflow: a folder of its file store, or a server or database by its URI."""

import os
import time
from collections.abc import Mapping

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # it is read when mlflow is imported
os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # a folder was asked for, and needs no server and no database

from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

from radapt.trackers.tracked_run import TrackedRun

EXPERIMENT = "radapt"
_TAG = "radapt.run"
_AT_ONCE = 200
"""Numbers that are kept until they are written together."""


class MlflowRun(TrackedRun):
    """A run of the experiment `radapt`, known by its tag `radapt.run`."""

    def __init__(self, uri: str, run: str, title: str) -> None:
        self._client = MlflowClient(tracking_uri=uri)
        self._waiting: list[Metric] = []
        found = self._client.get_experiment_by_name(EXPERIMENT)
        experiment = found.experiment_id if found else self._client.create_experiment(EXPERIMENT)
        runs = self._client.search_runs([experiment], filter_string=f"tags.`{_TAG}` = '{run}'")
        own = runs[0] if runs else self._client.create_run(experiment, tags={_TAG: run}, run_name=title)
        self._id = own.info.run_id
        self._names = tuple(own.data.metrics)
        self._client.set_terminated(self._id, "RUNNING")
        super().__init__()

    def describe(self, facts: Mapping[str, str]) -> None:
        params = [Param(name, value[:500]) for name, value in facts.items()]
        self._client.log_batch(self._id, params=params)

    def flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._client.log_batch(self._id, metrics=waiting)

    def close(self) -> None:
        self.flush()
        self._client.set_terminated(self._id)

    def _read(self) -> dict[str, int]:
        steps = {name: [each.step for each in self._client.get_metric_history(self._id, name)] for name in self._names}
        return {name: max(found) for name, found in steps.items() if found}

    def _write(self, step: int, numbers: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        self._waiting += [Metric(name, value, now, step) for name, value in numbers.items()]
        if len(self._waiting) >= _AT_ONCE:
            self.flush()
