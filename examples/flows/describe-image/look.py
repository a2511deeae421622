import struct

from promptflow.contracts.multimedia import Image
from promptflow.core import tool


@tool
def look(picture: Image, note: str) -> str:
    width, height = struct.unpack(">II", bytes(picture)[16:24])
    return f"{picture._mime_type}, {width} x {height}, {note}"
