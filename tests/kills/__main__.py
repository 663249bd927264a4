"""`python tests/kills --count 20`: kill `run`, `embed` and `adapt` at random points; they end with the same bits."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path[0:0] = [str(Path(__file__).resolve().parent.parent)]


def main() -> int:
    from kills.jobs import jobs
    from kills.killing import kill_at_random

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20, help="kills in all, half of them of run")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="no new kills after so long")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    different: list[str] = []
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="radapt-kills-") as name:
        for job, share, until in zip(jobs(Path(name)), (0.5, 0.25, 0.25), (0.5, 0.75, 1.0), strict=True):
            kills, deadline = max(1, round(given.count * share)), start + 60 * given.minutes * until
            result = kill_at_random(job, Path(name) / job.name, kills=kills, seed=given.seed, deadline=deadline)
            print(
                f"{job.name}: {result.kills} kills, {result.ends} ends, {len(result.different)} differences", flush=True
            )
            print("".join(f"  {difference}\n" for difference in result.different), end="", flush=True)
            different += result.different
    if not different:
        print("Every end has the bits of an undisturbed one.")
    return bool(different)


if __name__ == "__main__":
    sys.exit(main())
