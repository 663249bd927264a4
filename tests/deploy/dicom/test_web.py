"""DICOMweb in and out, against a small archive on this machine."""

import io
import threading
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from radapt.deploy.dicom.results import write_results
from radapt.deploy.dicom.source import read_source
from radapt.deploy.dicom.web import TOKEN, fetch_study, send_results
from radapt.errors import DataError, UsageError
from radapt.images import read
from radapt.locations import Location
from toy_dicom import ToySeries

pytest.importorskip("dicomweb_client", reason="dicomweb-client is not installed; it comes with radapt[dicomweb]")
STUDY = "1.2.826.0.1.3680043.8.498.7"


class Archive(ThreadingHTTPServer):
    """Instances by UID. `behaviour` is `good`, `refusing` (stores nothing), `cutting` (stops half-way), `talking`
    (HTML) or a status."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.instances: dict[str, bytes] = {}
        self.behaviour: str | int = "good"
        self.tokens: list[str | None] = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/dicom-web"


class Handler(BaseHTTPRequestHandler):
    server: Archive

    def log_message(self, *_):
        pass

    def answer(self, kind, body, length=None):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.server.tokens.append(self.headers.get("Authorization"))
        if isinstance(self.server.behaviour, int):
            self.send_error(self.server.behaviour)
        elif self.server.behaviour == "talking":
            self.answer("text/html", b"<html>welcome</html>")
        elif self.path != f"/dicom-web/studies/{STUDY}":
            self.send_error(404)
        else:
            parts = [
                b"--cut\r\nContent-Type: application/dicom\r\n\r\n" + data for data in self.server.instances.values()
            ]
            body = b"\r\n".join(parts) + b"\r\n--cut--"
            kind = 'multipart/related; type="application/dicom"; boundary=cut'
            if self.server.behaviour == "cutting":
                self.answer(kind, body[: len(body) // 2], len(body))
                self.close_connection = True
            else:
                self.answer(kind, body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        message = BytesParser().parsebytes(
            b"Content-Type: " + self.headers["Content-Type"].encode() + b"\r\n\r\n" + body
        )
        result = Dataset()
        refused = []
        for part in message.get_payload():
            data = dcmread(io.BytesIO(part.get_payload(decode=True)))
            if self.server.behaviour == "refusing":
                item = Dataset()
                item.ReferencedSOPInstanceUID, item.FailureReason = data.SOPInstanceUID, 272
                refused.append(item)
            else:
                self.server.instances[data.SOPInstanceUID] = part.get_payload(decode=True)
        if refused:
            result.FailedSOPSequence = refused
        self.answer("application/dicom+json", result.to_json().encode())


@pytest.fixture
def archive(monkeypatch):
    monkeypatch.delenv(TOKEN, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Archive() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def filled(archive, tmp_path):
    """An archive with a series of 3 slices and one of 2."""
    for name, slices in (("a", 3), ("b", 2)):
        pixels = np.random.default_rng(slices).integers(0, 3, (slices, 6, 8)).astype(np.uint8)
        folder = ToySeries(pixels).write(tmp_path / name)
        archive.instances |= {dcmread(path).SOPInstanceUID: path.read_bytes() for path in folder.iterdir()}
    return archive


def test_a_study_comes_as_it_is_and_results_go_back(filled, tmp_path, algorithm):
    folders = fetch_study(filled.url, STUDY, tmp_path / "study")
    assert sorted(len(list(folder.iterdir())) for folder in folders) == [2, 3]
    for name, slices in (("a", 3), ("b", 2)):
        original = read(Location(tmp_path / name))
        same = next(read(Location(f)) for f in folders if len(list(f.iterdir())) == slices)
        np.testing.assert_array_equal(same.array, original.array)
        np.testing.assert_array_equal(same.affine, original.affine)

    where = Location(folders[0])
    results = write_results(
        tmp_path / "out", "c", read_source(where), algorithm, mask=read(where), labels={1: "liver", 2: "tumour"}
    )
    assert send_results(filled.url, [results.segmentation, results.report]) == 2
    stored = dcmread(io.BytesIO(filled.instances[dcmread(results.segmentation).SOPInstanceUID]))
    assert stored == dcmread(results.segmentation)
    assert len(filled.instances) == 7


def test_names_of_fetched_files_name_nobody(filled, tmp_path):
    fetch_study(filled.url, STUDY, tmp_path / "study")
    for path in (tmp_path / "study").rglob("*"):
        assert path.name.startswith("series-") or path.name in ("0001.dcm", "0002.dcm", "0003.dcm")


def test_a_token_is_sent_and_only_encrypted_or_here(filled, tmp_path, monkeypatch):
    monkeypatch.setenv(TOKEN, "abc")
    fetch_study(filled.url, STUDY, tmp_path / "study")
    assert filled.tokens == ["Bearer abc"]
    with pytest.raises(UsageError, match="not encrypted"):
        fetch_study("http://archive.example/dicom-web", STUDY, tmp_path / "other")


@pytest.mark.parametrize(
    ("behaviour", "error", "said"),
    [
        (404, DataError, "404"),
        (401, DataError, f"401. Set {TOKEN}"),
        (500, DataError, "500"),
        ("talking", DataError, "did not answer with DICOM"),
        ("cutting", UsageError, "cannot be reached"),
    ],
)
def test_a_study_that_does_not_come_leaves_nothing(filled, tmp_path, behaviour, error, said):
    filled.behaviour = behaviour
    with pytest.raises(error, match=said) as caught:
        fetch_study(filled.url, STUDY, tmp_path / "out" / "study")
    assert STUDY not in str(caught.value)
    assert list((tmp_path / "out").rglob("*")) == []


def test_an_empty_study_is_an_error(archive, tmp_path):
    with pytest.raises(DataError):
        fetch_study(archive.url, STUDY, tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_refused_results_are_counted(filled, patient, algorithm, tmp_path):
    results = write_results(tmp_path / "o", "c", patient.source, algorithm, mask=patient.mask, labels={1: "a", 2: "b"})
    filled.behaviour = "refusing"
    with pytest.raises(DataError, match="refused 2 of 2 DICOM objects"):
        send_results(filled.url, [results.segmentation, results.report])


def test_wrong_addresses_are_refused(tmp_path, archive):
    with pytest.raises(UsageError, match="is no DICOMweb address"):
        fetch_study("archive", STUDY, tmp_path / "study")
    with pytest.raises(UsageError, match="digits and points"):
        fetch_study(archive.url, "../../etc", tmp_path / "study")
    (tmp_path / "there").mkdir()
    with pytest.raises(UsageError, match="exists"):
        fetch_study(archive.url, STUDY, tmp_path / "there")
    port = archive.server_port
    archive.shutdown()
    archive.server_close()
    with pytest.raises(UsageError, match="cannot be reached"):
        fetch_study(f"http://127.0.0.1:{port}/x", STUDY, tmp_path / "study")
