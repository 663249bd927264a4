"""What all tests share."""

import gc
import os
import shutil
import tempfile
from pathlib import Path

import pytest

# Tests run side by side, one process per core; threads of each would wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Nothing may be fetched, and nothing may be read from the user's own cache of weights.
os.environ["HF_HUB_OFFLINE"] = "1"
# What libraries and browsers leave in the folder of temporary files goes with the tests. pytest keeps the folders of
# tests that failed where one looks for them.
os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
_folder = tempfile.mkdtemp(prefix="radapt-tests-", dir=os.environ["PYTEST_DEBUG_TEMPROOT"])
os.environ["TMPDIR"] = tempfile.tempdir = _folder
# The key of pseudonyms is made where no test of another run, and no user, has one.
os.environ["XDG_CONFIG_HOME"] = str(Path(_folder, "config"))
# No test cuts the power: what was written is there without waiting for the disk. A closed file is an error as before.
os.fsync = lambda file: os.fstat(file if isinstance(file, int) else file.fileno()) and None


def pytest_collection_finish(session: pytest.Session) -> None:
    """The libraries stay until the end: looking through them for garbage takes time in every test."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Not by `atexit`: the workers of pytest-xdist are killed as soon as they have nothing to do."""
    shutil.rmtree(_folder, ignore_errors=True)
