"""`COCO.download` writes only into its folder and downloads only from the web."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sightline.metrics.pycocotools import COCO


class Pictures(BaseHTTPRequestHandler):
    def do_GET(self):
        moved = self.path.startswith("/moved-to-")
        self.send_response(302 if moved else 200 if self.path == "/picture" else 404)
        if moved:
            scheme = self.path.removeprefix("/moved-to-")
            self.send_header("Location", "/picture" if scheme == "http" else f"{scheme}://host/x")
        self.end_headers()
        self.wfile.write(b"" if moved else b"pixels")

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def site():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pictures)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def data_set(*images):
    coco = COCO()
    names = ("id", "file_name", "coco_url")
    coco.dataset = {"images": [dict(zip(names, (i, *image))) for i, image in enumerate(images)]}
    coco.createIndex()
    return coco


def test_pictures_are_fetched_once_and_counted_as_pycocotools_counts(site, folder, capsys):
    coco = data_set(("a.jpg", f"{site}/picture"), ("b.jpg", f"{site}/moved-to-http"))
    coco.download(str(folder))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "a.jpg": b"pixels",
        "b.jpg": b"pixels",
    }
    (folder / "a.jpg").write_bytes(b"mine")
    coco.download(folder)
    assert (folder / "a.jpg").read_bytes() == b"mine"
    lines = [line for line in capsys.readouterr().out.splitlines() if "downloaded" in line]
    assert [line.split(" (t=")[0] for line in lines] == [
        "downloaded 0/2 images",
        "downloaded 1/2 images",
    ] * 2


@pytest.mark.parametrize(
    "name",
    ["../out", "a/../../out", "/tmp/out", r"..\out", r"C:\out", "C:out", r"\\host\share\out",
     "link/out", "dangling", "", ".", "a\0b", 7],
)  # fmt: skip
def test_a_name_that_leaves_the_folder_is_refused_before_anything_is_fetched(
    site, folder, tmp_path, name
):
    (tmp_path / "out").mkdir()
    (folder / "link").symlink_to(tmp_path / "out")
    (folder / "dangling").symlink_to(tmp_path / "nowhere")
    coco = data_set(("good.jpg", f"{site}/picture"), (name, f"{site}/picture"))
    with pytest.raises(ValueError, match=r"`file_name` .* leads out of"):
        coco.download(str(folder))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["dangling", "in", "link", "out"]


def test_a_folder_that_is_a_link_holds_its_pictures(site, folder, tmp_path):
    (tmp_path / "to").symlink_to(folder)
    data_set(("a.jpg", f"{site}/picture")).download(str(tmp_path / "to"))
    assert (folder / "a.jpg").read_bytes() == b"pixels"


@pytest.mark.parametrize("address", ["file:///etc/hostname", "ftp://host/x", "data:,x", "x", None])
def test_only_the_web_is_fetched_from(site, folder, address):
    coco = data_set(("good.jpg", f"{site}/picture"), ("a.jpg", address))
    with pytest.raises(ValueError, match=r"`coco_url` of 'a.jpg' must begin with http"):
        coco.download(str(folder))
    assert not list(folder.iterdir())


@pytest.mark.parametrize("scheme", ["file", "ftp"])
def test_the_web_does_not_lead_elsewhere(site, folder, scheme):
    with pytest.raises(OSError):
        data_set(("a.jpg", f"{site}/moved-to-{scheme}")).download(str(folder))
    assert not list(folder.iterdir())


def test_what_is_not_there_leaves_no_file(site, folder):
    with pytest.raises(OSError, match="404"):
        data_set(("a.jpg", f"{site}/nothing")).download(str(folder))
    assert not list(folder.iterdir())
