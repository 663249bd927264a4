"""What all tests share."""

import atexit
import os
import shutil
import tempfile

# Tests run side by side, one process per core; threads of each would wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Nothing may be fetched, and nothing may be read from the user's own cache of weights.
os.environ["HF_HUB_OFFLINE"] = "1"
# The key of pseudonyms is made where no test of another run, and no user, has one.
os.environ["XDG_CONFIG_HOME"] = configuration = tempfile.mkdtemp(prefix="radapt-tests-")
atexit.register(shutil.rmtree, configuration, ignore_errors=True)
