"""A video that was trimmed is whole; one that was cut off is not."""

import av
import numpy as np
import pytest

from vvi.data.video import open_video

RATE = 25


@pytest.fixture
def video(tmp_path):
    """Two seconds, of which only the first frame stands for itself."""
    path = tmp_path / "whole.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as file:
        stream = file.add_stream("h264", rate=RATE)
        stream.width = stream.height = 64
        stream.options = {"g": "50", "bf": "0"}
        for level in range(2 * RATE):
            picture = np.full((64, 64, 3), 5 * level, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        file.mux(stream.encode())
    return path


def test_a_video_that_was_trimmed_without_being_encoded_again_is_read(video, tmp_path):
    """Its file keeps the frames before the cut, and counts them."""
    trimmed = tmp_path / "trimmed.mp4"
    options = {"avoid_negative_ts": "disabled"}
    with (
        av.open(str(video)) as source,
        av.open(str(trimmed), "w", options=options) as to,
    ):
        stream = source.streams.video[0]
        copy = to.add_stream_from_template(stream)
        second = int(1 / stream.time_base)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.pts, packet.dts = packet.pts - second, packet.dts - second
                packet.stream = copy
                to.mux(packet)
    with av.open(str(trimmed)) as file:
        assert file.streams.video[0].frames == 2 * RATE
    assert len(list(open_video(trimmed))) == RATE


def test_a_video_that_was_cut_off_is_refused(video):
    content = video.read_bytes()
    video.write_bytes(content[: -len(content) // 4])
    with pytest.raises(ValueError, match="is cut off|is damaged"):
        list(open_video(video))
