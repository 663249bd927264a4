"""Every fault of JSON is a ValueError."""

import pytest

from radapt.parsing.json import parse_json, read_json


def test_values(tmp_path):
    assert parse_json(b'{"a": [1, null]}') == {"a": [1, None]}
    (tmp_path / "x.json").write_text('"ä"', encoding="utf-8")
    assert read_json(tmp_path / "x.json") == "ä"


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"9" * 5000, b"\xff", b"NaNa"])
def test_what_is_no_json_is_a_value_error(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"."):
        read_json(tmp_path / "x.json")
