import pickle

import pytest

from sightline.data import DataError, read_dataset, write_dataset
from sightline.data.write import all_splits
from sightline.formats.record import UnreadableImageError

from ..tiny import write_colours

BAD = {"empty": b"", "damaged": b"\x89PNG\r\n\x1a\nnothing", "text": b"not an image"}


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """The same images as class folders and as YOLO files."""
    root = tmp_path_factory.mktemp("sets")
    write_colours(root / "folder", count=4)
    write_dataset(read_dataset(root / "folder"), root / "yolo", format="yolo")
    return {name: root / name for name in ("folder", "yolo")}


@pytest.mark.parametrize("format", ["folder", "yolo"])
@pytest.mark.parametrize("fault", BAD)
def test_an_image_that_cannot_be_opened_is_left_out_where_bad_labels_are(sets, format, fault):
    path = read_dataset(sets[format]).records[3].image
    good = path.read_bytes()
    path.write_bytes(BAD[fault])
    try:
        with pytest.raises(DataError, match=path.name):
            read_dataset(sets[format])
        for policy in ("drop-box", "drop-image"):
            kept = read_dataset(sets[format], on_bad_label=policy)
            assert len(kept) == 7
            (issue,) = (issue for issue in kept.issues if issue.file == path)
            assert issue.action == "image dropped"
            assert sum(map(len, all_splits(sets[format], on_bad_label=policy).values())) == 7
    finally:
        path.write_bytes(good)


def test_the_error_can_be_sent_between_processes():
    error = pickle.loads(pickle.dumps(UnreadableImageError("a.png", "it is empty", "replace it")))
    assert (str(error), error.file) == ("a.png: it is empty; replace it", "a.png")
