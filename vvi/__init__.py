"""vvi: models, one training loop and one protocol for video-based visible-infrared person re-identification."""

__version__ = "0.1.0"
