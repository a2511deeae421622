"""Images."""

from flows.images import Image as Image
