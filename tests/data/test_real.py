"""The same checks on a true data set below VVI_DATA; run with `make test-real`."""

import pytest

from vvi.data import check, open_dataset, regdb, sysu
from vvi.data.layout import detect
from vvi.runtime import paths

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def root():
    found = paths.real_data()
    assert found is not None, (
        "set VVI_DATA to the folder of HITSZ-VCM, SYSU-MM01 or RegDB"
    )
    return found


def test_the_real_set_has_no_fault_and_every_image_decodes(root):
    report = check.report(root)
    assert report.errors == (), report.text


def test_the_real_set_has_the_counts_that_were_published(root):
    text = check.report(root, images=False).text
    assert "differ from the real set" not in text, text


def test_queries_find_their_identity_in_the_gallery(root):
    ds = open_dataset(root)
    for direction in ds.sides:
        gallery = {t.identity for t in ds.gallery(direction)}
        assert {t.identity for t in ds.query(direction)} <= gallery


def test_every_protocol_of_the_set_can_be_read(root):
    layout = detect(root)
    if layout == "sysu-mm01":
        for mode, shots in check.SYSU_GALLERY:
            sizes = {
                len(
                    sysu.read(root, mode=mode, shots=shots, trial=trial).gallery(
                        "ir2vis"
                    )
                )
                for trial in range(10)
            }
            assert sizes == {check.SYSU_GALLERY[mode, shots]}
    elif layout == "regdb":
        assert all(len(regdb.read(root, trial).train) == 4120 for trial in regdb.TRIALS)
    else:
        ds = open_dataset(root)
        assert (len(ds.train), len(ds.query("ir2vis")), len(ds.gallery("ir2vis"))) == (
            9751,
            4584,
            5099,
        )
