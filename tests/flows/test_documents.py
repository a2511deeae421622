"""Documents become sections, sections chunks, and each knows where in the file it stands."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("pypdf", reason="pypdf is not installed")
pytest.importorskip("langchain_text_splitters", reason="langchain-text-splitters is not installed")

from flows.rag import chunks, readers
from flows.rag.chunks import Chunking
from flows.rag.sections import Section
from workspace.errors import Invalid

EXAMPLE = Path(__file__).parents[2] / "examples" / "flows" / "ask-documents"


# Reading


def test_markdown_is_read_by_its_headings_and_code_has_none(tmp_path: Path) -> None:
    file = tmp_path / "a.md"
    file.write_text(
        "---\ntitle: x\n---\nbefore\n\n# One\n\ntext\n\n```sh\n# no heading\n```\n\n"
        "### Deep ###\n\nmore\n\n## Two\n\nend\n"
    )
    assert [(each.heading, each.line) for each in readers.read(file)] == [
        ("", 4), ("One", 7), ("One > Deep", 15), ("One > Two", 19),
    ]  # fmt: skip
    assert "# no heading" in readers.read(file)[1].text
    assert "title" not in readers.read(file)[0].text


def test_of_html_what_people_read_is_kept(tmp_path: Path) -> None:
    found = {each.heading: each.text for each in readers.read(EXAMPLE / "documents" / "travel.html")}
    assert list(found) == ["Travel", "Travel > Expenses"]
    assert "Breakfast is paid.\n\nThe minibar is not." in found["Travel > Expenses"]
    assert not any(word in str(found) for word in ("console.log", "color", "Handbook"))


def test_a_line_of_html_knows_its_line_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.html"
    file.write_text(
        '<title>x</title>\n<p>one\n<b>two</b>\n\n<h2>Title\n here</h2>\n\n<pre>a\n  b</pre><p title=">">c &amp; d\n'
    )
    assert readers.read(file) == [
        Section("one two", "", 1, lines=(2,)),
        Section("a\n  b\n\nc & d", "Title here", 5, lines=(8, 9, 9, 9)),
    ]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", ["<div>x", "<a ", "<!--", "<a b='", "<script>", "<h1>x", "</", "<!", '<a ">'])
def test_a_broken_page_takes_no_longer_than_a_sound_one(tmp_path: Path, piece: str) -> None:
    file = tmp_path / "a.html"
    file.write_text(piece * 100_000)
    assert len(readers.read(file)) <= 1


@pytest.mark.timeout(60)
def test_a_pdf_damaged_anywhere_is_read_or_refused(tmp_path: Path) -> None:
    sound = (EXAMPLE / "documents" / "security.pdf").read_bytes()
    random, file, outcomes = Random(7), tmp_path / "a.pdf", set[str]()  # noqa: S311 - nothing is secret here
    for _ in range(300):
        damaged = bytearray(sound)
        for _ in range(random.randint(1, 12)):
            damaged[random.randrange(len(damaged))] = random.randrange(256)
        file.write_bytes(damaged)
        try:
            readers.read(file)
            outcomes.add("read")
        except Invalid:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_of_pdf_each_page_is_a_section() -> None:
    (page,) = readers.read(EXAMPLE / "documents" / "security.pdf")
    assert page.page == 1
    assert "Visitors wear a green badge" in page.text


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.pdf", b"%PDF-1.4 torn"), ("a.txt", b"\0\1\2binary"), ("a.docx", b"PK"), ("a.pdf", b"")],
)
def test_what_cannot_be_read_is_refused_with_its_reason(tmp_path: Path, name: str, content: bytes) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(Invalid):
        readers.read(file)


# Cutting


def test_chunks_are_short_overlap_and_know_their_lines() -> None:
    text = "\n".join(f"Line {number} says something of its own." for number in range(1, 41))
    found = list(chunks.cut([Section(text, "Top", line=10)], Chunking(size=200, overlap=50)))
    assert all(len(each.text) <= 200 for each in found)
    lines = text.splitlines()
    for each in found:
        assert each.line is not None
        assert each.text.splitlines()[0] in lines[each.line - 10]
        assert each.heading == "Top"
    shared = [set(one.text.splitlines()) & set(two.text.splitlines()) for one, two in pairwise(found)]
    assert all(shared)
    assert {line for each in found for line in each.text.splitlines()} == set(lines)


def test_chunks_are_counted_in_tokens_where_asked_and_repeated_text_is_found() -> None:
    text = "\n\n".join(["the same words again"] * 30)
    chunking = Chunking(size=12, overlap=4, unit="tokens")
    found = list(chunks.cut([Section(text, line=1)], chunking, lambda part: len(part.split())))
    assert max(len(each.text.split()) for each in found) == 12
    assert all(each.line is not None and each.line % 2 for each in found)


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["a", "word ", " ", "\n", "\n\n", ". ", "。", "! ", "\t", "x" * 30])).map("".join),
    st.integers(0, 25),
)
def test_a_chunk_stands_on_the_line_it_names(text: str, overlap: int) -> None:
    lines = text.split("\n")
    for each in chunks.cut([Section(text, line=1)], Chunking(size=50, overlap=overlap)):
        assert each.line is not None
        assert each.text.split("\n")[0] in lines[each.line - 1]


@pytest.mark.parametrize(("size", "overlap"), [(10, 0), (100, 51), (100, -1), (1_000_000, 0)])
def test_a_chunking_that_makes_no_sense_is_refused(size: int, overlap: int) -> None:
    with pytest.raises(Invalid):
        Chunking(size=size, overlap=overlap)
