"""Images: made from paths, addresses and base64, written in the two forms that flows use, kept as files.

A flow's `message_format` says how an image is written in JSON. `basic` is `{"data:image/png;path": "logo.png"}`, with
`base64` or `url` in place of `path`; `openai-vision` is `{"type": "image_file", "image_file": {"path": "logo.png"}}` or
`{"type": "image_url", "image_url": {"url": …}}`. Both are read in any flow, one is written.

Paths are looked up where the value comes from: beside the data file, in the flow's folder for what the flow itself
says. A path in data leads to images inside that folder only, through links as well; a person at the command line may
name any. What comes over HTTP names no path at all. What is not recognised as an image by its first bytes is none.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workspace.errors import Invalid, StudioloError
from workspace.paths import safe_join, write_atomically

LARGEST = 50_000_000  # bytes
DEEPEST = 100  # lists and objects in each other
FORMATS = ("basic", "openai-vision")

_BASIC = re.compile(r"data:image/([\w.+-]+|\*);(path|base64|url)", re.IGNORECASE)
_DATA_URL = re.compile(r"data:([\w.+-]+/(?:[\w.+-]+|\*))?(?:;[\w-]+=[^;,]*)*;base64,(.*)", re.DOTALL | re.IGNORECASE)
_URL = re.compile(r"https?://", re.IGNORECASE)
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"\x00\x00\x01\x00", "image/x-icon"),
    (b"\x00\x00\x00\x0cjP  ", "image/jp2"),
)
_BRANDS = {b"avif": "image/avif", b"avis": "image/avif", b"heic": "image/heic", b"heix": "image/heic",
           b"mif1": "image/heif", b"msf1": "image/heif"}  # fmt: skip
_SVG = re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*(?:<!DOCTYPE svg[^>]*>\s*)?<svg[\s>]", re.DOTALL)
_SUFFIXES = {"jpeg": "jpg", "svg+xml": "svg", "x-icon": "ico"}


class Image(bytes):
    """The bytes of an image that know what they show and, if from somewhere else, where from.

    >>> Image(b"GIF89a").mime_type
    'image/gif'
    """

    mime_type: str
    source_url: str | None
    path: Path | None

    def __new__(
        cls,
        value: bytes,
        mime_type: str | None = None,
        source_url: str | None = None,
        *,
        path: Path | None = None,
    ) -> Image:
        """Make one; without a type it is recognised."""
        made = super().__new__(cls, value)
        made.mime_type = (mime_type or sniff(value) or "image/*").lower()
        made.source_url = source_url
        made.path = path
        return made

    @property
    def digest(self) -> str:
        """The SHA-1 of the bytes: what an image is called in templates and files."""
        return hashlib.sha1(self, usedforsecurity=False).hexdigest()

    @property
    def _mime_type(self) -> str:  # what flows written for prompt flow ask for
        return self.mime_type

    @property
    def _hash(self) -> str:
        return self.digest[:8]

    def to_base64(self, with_type: bool = False) -> str:
        """Return the bytes as base64; `with_type` as a `data:` address."""
        text = base64.b64encode(self).decode()
        return f"data:{self.mime_type};base64,{text}" if with_type else text

    def serialize(self, encoder: Callable[[Image], Any] | None = None) -> Any:
        """Return the image as the encoder writes it, else a short text that stands for it."""
        return encoder(self) if encoder else str(self)

    def __str__(self) -> str:
        return f"Image({self._hash})"

    __repr__ = __str__


class Text(str):
    """A text that stood among images as `{"type": "text", "text": …}`."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where the paths of images begin, and how far they reach: `folder` None allows no path, `anywhere` all of them."""

    folder: Path | None = None
    anywhere: bool = False


NOWHERE = Place()


def sniff(content: bytes) -> str | None:
    """Return the type of an image by its first bytes; None for what is none."""
    head = bytes(content[:1024])
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12])
    return "image/svg+xml" if _SVG.match(head.removeprefix(b"\xef\xbb\xbf")) else None


def create(value: Any, *, folder: Path | None = None, fetch: Callable[[str], bytes] | None = None) -> Image:
    """Return the image that a path in `folder`, an address, base64 or an object of either form means.

    Raises ValueError with the reason where there is none.
    """
    if isinstance(value, Image):
        return value
    return _loaded(settle(value, Place(folder)), fetch or fetched)


def is_image(value: Any) -> bool:
    """Whether a JSON value is an image in either form."""
    if not isinstance(value, dict):
        return False
    if len(value) == 1:
        key = next(iter(value))
        return isinstance(key, str) and _BASIC.fullmatch(key) is not None
    kind = value.get("type")
    if len(value) != 2 or kind not in ("image_url", "image_file"):
        return False
    inner = value.get(kind)
    return isinstance(inner, dict) and ("url" if kind == "image_url" else "path") in inner


# At the border: paths are checked once, and from there on whole


def settle(value: Any, place: Place) -> Any:
    """Return the image that a value means as an object, with a whole path that may be read.

    Raises ValueError where the path leads out of its place, or the value is no image.
    """
    if isinstance(value, Image):
        return value
    if isinstance(value, str):
        return _settle_text(value, place)
    if not is_image(value):
        raise ValueError(f"{_short(value)} is no image: give a path, an address, base64, or an object with one of them")
    _, way, content = _parts(value)
    if not isinstance(content, str) or not content:
        raise ValueError(f"the {way} of an image must be a text")
    if way == "url" and not _URL.match(content) and not _DATA_URL.fullmatch(content):
        raise ValueError(f"{_short(content)} is no address of an image: use http:, https: or data:")
    if way != "path":
        return value
    path = str(_path(content, place))
    if len(value) == 1:
        return dict.fromkeys(value, path)
    return {"type": "image_file", "image_file": {**value["image_file"], "path": path}}


def settle_all(value: Any, place: Place, *, depth: int = 0) -> Any:
    """Return a value in which all images are settled, at any depth; the same object where there is none."""
    if not isinstance(value, list | dict):
        return value
    if depth > DEEPEST:
        raise ValueError(f"nested deeper than {DEEPEST} levels")
    if isinstance(value, list):
        items = [settle_all(item, place, depth=depth + 1) for item in value]
        return value if all(map(_is, items, value)) else items
    if is_image(value):
        return settle(value, place)
    found = {key: settle_all(item, place, depth=depth + 1) for key, item in value.items()}
    return value if all(map(_is, found.values(), value.values())) else found


def _settle_text(text: str, place: Place) -> dict[str, str]:
    text = text.strip()
    if not text:
        raise ValueError("an image cannot be an empty text")
    if match := _DATA_URL.fullmatch(text):
        return {f"data:image/{(match[1] or '*').rpartition('/')[2]};base64": text}
    if _URL.match(text):
        return {"data:image/*;url": text}
    if sniff(_decoded("".join(text[:1400].split()))) is not None:
        return {"data:image/*;base64": text}
    if text.startswith("data:"):
        raise ValueError(f"{_short(text)} is no image: only base64 is read")
    return {"data:image/*;path": str(_path(text, place))}


def _path(text: str, place: Place) -> Path:
    if place.folder is None:
        raise ValueError("an image cannot be named by its path here: send it as base64 or as an address")
    base = place.folder.resolve()
    try:
        if place.anywhere or Path(text).is_absolute():
            found = (base / Path(text).expanduser()).resolve()
            # A whole path is as good as a relative one, where it stays inside.
            if not place.anywhere and not found.is_relative_to(base):
                raise ValueError(f"image {_short(text)} is not in {base}: images lie beside the data that names them")
        else:
            found = safe_join(base, text)
    except Invalid as error:
        raise ValueError(f"image {_short(text)}: {error.message}") from None
    except (OSError, RuntimeError):
        raise ValueError(f"image {_short(text)} leads nowhere") from None
    try:
        regular = found.is_file()
    except (OSError, ValueError):
        regular = False
    if not regular:
        raise ValueError(f"no image {_short(text)} in {base}")
    return found


def _parts(value: Mapping[str, Any]) -> tuple[str, str, Any]:
    """Return the type, the way and the content of an image written in either form."""
    if len(value) == 1:
        match = _BASIC.fullmatch(next(iter(value)))
        assert match  # noqa: S101 - `is_image` has looked
        return match[1].lower(), match[2].lower(), next(iter(value.values()))
    way = "path" if value["type"] == "image_file" else "url"
    return "*", way, value[value["type"]][way]


# In the process that runs the flow: what has been settled becomes bytes


def takes(kind: str) -> bool:
    """Whether inputs of a type may hold images."""
    return kind in ("image", "list", "object", "dict")


def holds(value: Any, *, depth: int = 0) -> bool:
    """Whether there is something in a value that `load` would change."""
    if isinstance(value, list):
        return depth < DEEPEST and any(holds(item, depth=depth + 1) for item in value)
    if not isinstance(value, dict):
        return False
    if is_image(value):
        return True
    return depth < DEEPEST and any(holds(item, depth=depth + 1) for item in value.values())


def load(value: Any, *, form: str = "basic", fetch: Callable[[str], bytes] | None = None) -> Any:
    """Return a settled value with images for what names them; in `openai-vision` texts beside them become `Text`.

    Paths are read wherever they lead: `settle` or `settle_all` has checked them. Raises ValueError with the reason.
    """
    if isinstance(value, list):
        return [load(item, form=form, fetch=fetch) for item in value]
    if not isinstance(value, dict):
        return value
    if is_image(value):
        return _loaded(value, fetch or fetched)
    if form == "openai-vision" and value.get("type") == "text" and len(value) == 2 and "text" in value:
        said = value["text"]
        said = said.get("value") if isinstance(said, dict) else said
        return Text(said) if isinstance(said, str) else value
    return {key: load(item, form=form, fetch=fetch) for key, item in value.items()}


def fetched(url: str) -> bytes:
    """Return what is at an address of the internet; ValueError where it cannot be had."""
    from workspace import egress

    try:
        return egress.get(url, largest=LARGEST).content
    except StudioloError as error:
        raise ValueError(error.message) from None


def _loaded(value: Any, fetch: Callable[[str], bytes]) -> Image:
    if isinstance(value, Image):
        return value
    kind, way, content = _parts(value)
    if way == "path":
        return _image(_read(Path(content)), f"the file {content!r}", path=Path(content))
    if _URL.match(content):
        return _image(fetch(content), content, source_url=content)
    text = match[2] if (match := _DATA_URL.fullmatch(content)) else content
    if len(text) > LARGEST * 4 // 3 + 4:
        raise ValueError(f"the image is larger than {LARGEST:,} bytes")
    try:
        raw = base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        raise ValueError(f"not base64: {_short(text)}") from None
    return _image(raw, f"what is said to be image/{kind}")


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"the image {path.name!r} is larger than {LARGEST:,} bytes")
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"the image {path.name!r} cannot be read: {error.strerror}") from None


def _image(content: bytes, what: str, *, source_url: str | None = None, path: Path | None = None) -> Image:
    """What the bytes are counts, whatever they are said to be."""
    if (found := sniff(content)) is None:
        raise ValueError(f"{what} is no image")
    return Image(content, found, source_url, path=path)


# Out again


def write(image: Image, folder: Path, *, form: str = "basic", relative_to: Path | None = None) -> dict[str, Any]:
    """Return an image as JSON: its address if it has one, else its path in `folder`, where it is written once."""
    if image.source_url:
        return _object(image.mime_type, "url", image.source_url, form)
    suffix = image.mime_type.rpartition("/")[2]
    suffix = _SUFFIXES.get(suffix, suffix)
    name = image.digest if suffix == "*" or not suffix.isalnum() else f"{image.digest}.{suffix}"
    path = folder.absolute() / name
    if not path.exists():
        write_atomically(path, image)
    shown = path.relative_to(relative_to.absolute()) if relative_to else path
    return _object(image.mime_type, "path", shown.as_posix(), form)


def inline(image: Image, *, form: str = "basic") -> dict[str, Any]:
    """Return an image as JSON that holds all of it."""
    if form == "basic":
        return _object(image.mime_type, "base64", image.to_base64(), form)
    return _object(image.mime_type, "url", image.to_base64(with_type=True), form)


def replace_all(value: Any, write_one: Callable[[Image], Any]) -> Any:
    """Return a value in which every image, at any depth, is what `write_one` makes of it."""
    if isinstance(value, Image):
        return write_one(value)
    if isinstance(value, list | tuple):
        return [replace_all(item, write_one) for item in value]
    if isinstance(value, dict):
        return {key: replace_all(item, write_one) for key, item in value.items()}
    return value


def _object(kind: str, way: str, content: str, form: str) -> dict[str, Any]:
    if form == "basic":
        return {f"data:{kind};{way}": content}
    name = "image_file" if way == "path" else "image_url"
    return {"type": name, name: {way: content}}


def _decoded(text: str) -> bytes:
    """Decode the beginning of what may be base64; nothing where it is none."""
    try:
        return base64.b64decode(text[: len(text) // 4 * 4], validate=True)
    except ValueError:
        return b""


def _is(one: Any, other: Any) -> bool:
    return one is other


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}…"
