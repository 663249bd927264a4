"""`dcmread`: pydicom's, without its warnings, which print the values of malformed fields: names, ids, dates."""

import logging
from pathlib import Path
from typing import Any


def dcmread(path: Path, **options: Any) -> Any:
    """The data set in a DICOM file. Values that do not fit their type are kept as they are, without a word."""
    import pydicom
    from pydicom import config

    config.settings.reading_validation_mode = config.IGNORE
    if (logger := logging.getLogger("pydicom")).level != logging.CRITICAL:  # setting it empties caches of all loggers
        logger.setLevel(logging.CRITICAL)
    return pydicom.dcmread(path, **options)
