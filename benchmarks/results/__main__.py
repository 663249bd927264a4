"""The results on public data sets as one page, written from run folders.

    python benchmarks/results RUN... --out docs/results.md [--keep docs/results.md] [--published FILE]

RUN is a folder that `radapt run` or `radapt adapt` wrote; the names of its cohorts say to which data sets it belongs
(see `DATA_SETS`). With `--keep` the sections of data sets without a RUN are taken as they are from a page that was
written before. FILE is a CSV of published figures: dataset, size, model, protocol, metric, value, source, mark. Figures
marked M, from memory, are not printed. What the folders do not hold is said to be not run. No path and no data is
printed.
"""

import sys
from pathlib import Path

sys.path[0:0] = [str(Path(__file__).resolve().parent.parent)]

if __name__ == "__main__":
    from results.page import main

    raise SystemExit(main(description=__doc__))
