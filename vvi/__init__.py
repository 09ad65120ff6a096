"""Video-based visible-infrared person re-identification.

Models, one training loop and one protocol.
"""

from vvi.runtime.moved import install

__version__ = "0.1.0"

install()
