"""What `radapt predict` takes for a study after its model is loaded: reading, encoding, page, DICOM SEG and SR.

The same study is predicted several times into new folders, with an empty cache each time; the first round also imports
libraries and reads weights. CPU time is what counts on a busy machine: with one thread it is the time on an idle core.

    python benchmarks/predict_seconds.py MODEL STUDY [--rounds 3] [--threads 1]
"""

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from radapt.cli.predict import page_writer
from radapt.deploy.batch import predict_batch
from radapt.deploy.deployed_model import load_deployed
from radapt.deploy.inputs.resolve import resolve_inputs


def main() -> None:
    """Print a line for loading, and one for each round."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("model", metavar="MODEL", type=Path)
    options.add_argument("study", metavar="STUDY", type=Path)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--threads", type=int, default=1)
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    cpu, wall = time.process_time(), time.perf_counter()
    model = load_deployed(given.model)
    print(f"loading: {time.process_time() - cpu:.1f} s of CPU time, {time.perf_counter() - wall:.1f} s")
    for number in range(1, given.rounds + 1):
        with TemporaryDirectory() as folder:
            cpu, wall = time.process_time(), time.perf_counter()
            resolved = resolve_inputs([given.study], model.deployment.sequences, model.card.kind)
            done = predict_batch(model, resolved, Path(folder) / "out", write_page=page_writer(model))
            seconds = time.process_time() - cpu, time.perf_counter() - wall
            written = sum(path.is_file() for path in done.folder.rglob("*"))
        print(f"round {number}: {seconds[0]:.1f} s of CPU time, {seconds[1]:.1f} s; {written} files, "
              f"{len(done.failures)} of {done.cases} cases failed")  # fmt: skip


if __name__ == "__main__":
    main()
