"""The option `--map`: which series is which sequence of a model."""

from collections.abc import Sequence


def series_mapping(mapping: Sequence[str]) -> dict[str, str]:
    """{name of a series: name of a sequence}. Raises UsageError for anything but SERIES=SEQUENCE."""
    from radapt.errors import UsageError

    pairs = {}
    for each in mapping:
        series, mark, sequence = each.rpartition("=")
        if not mark or not series or not sequence:
            raise UsageError(f"--map {each}: expected SERIES=SEQUENCE, such as --map 'AX T1 POST=t1c'.")
        pairs[series] = sequence
    return pairs
