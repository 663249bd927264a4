import json
import subprocess
import sys

from radapt.backbones import CATALOG
from radapt.cli.backbones import backbones


def test_the_table_names_every_encoder_and_its_licence(capsys):
    backbones(as_json=False)
    shown = capsys.readouterr().out
    for card in CATALOG.values():
        assert card.name in shown
        assert card.licence in shown
        assert card.repo in shown
        if card.package:
            assert f"package {card.package.package} {card.package.version}" in shown


def test_json_says_the_same(capsys):
    backbones(as_json=True)
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == list(CATALOG)
    assert {row["name"] for row in rows if row["here"]} == {"vit-nano"}  # it has only random weights
    assert next(row for row in rows if row["name"] == "medsiglip")["gated"]


def test_listing_needs_no_torch():
    code = "import sys; from radapt.cli.backbones import backbones; backbones(False); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
