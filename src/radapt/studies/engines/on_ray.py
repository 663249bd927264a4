"""Shares of a study as Ray tasks, on a cluster that is running or on this machine."""

import os
from collections.abc import Iterator
from typing import Any

from radapt.errors import UsageError
from radapt.studies.engines.shares import Resources, Shares
from radapt.studies.plan import StudyFailure
from radapt.studies.run import Outcome

_RETRIES = 10
"""How often a share is begun again on another machine after its own has died. Finished cells are not run again."""


def run_on_ray(shares: Shares, resources: Resources) -> Iterator[Outcome | StudyFailure]:
    """The outcome of each share, as it ends. The cluster is the one that RAY_ADDRESS names, else this machine.

    Raises UsageError if ray is missing, if the cluster does not answer, and if no machine of it has the resources,
    which Ray would wait for without end.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise UsageError("--engine ray needs the package ray: pip install 'radapt[ray]'.") from error
    joined = ray.is_initialized()
    if not joined:
        try:
            ray.init(include_dashboard=None if os.environ.get("RAY_ADDRESS") else False, log_to_driver=False)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UsageError(
                f"The Ray cluster {os.environ.get('RAY_ADDRESS', 'of this machine')} did not answer ({error}). Start "
                "it with: ray start --head, or unset RAY_ADDRESS to use this machine."
            ) from error
    try:
        _refuse_too_much(ray, resources)
        memory = {} if resources.memory_gb is None else {"memory": int(resources.memory_gb * 1e9)}
        task = ray.remote(_call).options(
            num_cpus=resources.cpus, num_gpus=resources.gpus, max_retries=_RETRIES, name="radapt", **memory
        )
        pending = {task.remote(shares, number): number for number in shares.numbers}
        while pending:
            (ended, *_), _ = ray.wait(list(pending), num_returns=1)
            yield _outcome(ray, ended, f"worker {pending.pop(ended)}/{shares.workers}")
    finally:
        if not joined:
            ray.shutdown()


def _call(shares: Shares, number: int) -> Outcome:
    return shares(number)


def _outcome(ray: Any, ended: Any, name: str) -> Outcome | StudyFailure:
    try:
        found: Outcome = ray.get(ended)
    except UsageError:
        raise
    except ray.exceptions.RayError as error:
        return StudyFailure(name, " ".join(str(error).split())[:500] or type(error).__name__)
    return found


def _refuse_too_much(ray: Any, resources: Resources) -> None:
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    wanted = {"CPU": resources.cpus, "GPU": resources.gpus, "memory": (resources.memory_gb or 0) * 1e9}
    if any(all(node.get(name, 0) >= amount for name, amount in wanted.items()) for node in nodes):
        return
    listed = {
        f"{node.get('CPU', 0):g} CPUs, {node.get('GPU', 0):g} GPUs, {node.get('memory', 0) / 1e9:.0f} GB"
        for node in nodes
    }
    raise UsageError(
        f"No machine of the Ray cluster has {resources.text} for a worker. There are: {'; '.join(sorted(listed))}. Ask "
        "for less with --worker-cpus, --worker-gpus and --worker-memory."
    )
