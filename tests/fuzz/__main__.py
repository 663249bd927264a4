"""`python tests/fuzz --minutes 10`: damage files of every kind, and see that radapt reads or refuses each of them."""

import argparse
import signal
import sys
from pathlib import Path

sys.path[0:0] = [str(Path(__file__).resolve().parent.parent)]


def main() -> int:
    from fuzz.harness import fuzz
    from fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--readers", nargs="*", default=[], help="words of the names of readers; default: all")
    parser.add_argument("--inputs", type=int, help="at most so many for each reader")
    parser.add_argument("--out", type=Path, default=Path("fuzz-faults"))
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that its folder in memory goes
    names = [name for name in TARGETS if not given.readers or any(word in name for word in given.readers)]
    tallies = fuzz(names, seconds=given.minutes * 60, seed=given.seed, out=given.out, most=given.inputs)
    inputs, failed = (sum(getattr(tally, what) for tally in tallies.values()) for what in ("inputs", "failed"))
    print(
        f"{inputs:,} inputs of {len(names)} readers, {failed:,} faults" + (f", saved in {given.out}" if failed else ".")
    )
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
