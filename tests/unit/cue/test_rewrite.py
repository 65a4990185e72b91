"""Changed text leads back to where it came from."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vela_workflow.cue.rewrite import Rewrite, SourceMap, offset_of, place

TEXT = st.text(alphabet="abcé😀\n\t {}", max_size=40)


def test_wrapped_spans_nest() -> None:
    edit = Rewrite("abcdef")
    edit.wrap(1, 5, "(", ")")
    edit.wrap(2, 4, "[", "]")
    edit.wrap(1, 5, "<", ">", rank=-1)
    edit.cut(2, 3)
    assert edit.write()[0] == "a<(b[d]e)>f"


@st.composite
def edits(draw: st.DrawFn) -> tuple[str, Rewrite]:
    text = draw(TEXT)
    edit = Rewrite(text)
    place_in = st.integers(0, len(text))
    for position in draw(st.lists(place_in, max_size=4)):
        edit.insert(position, draw(st.sampled_from(["<>", "x\ny", "é"])))
    for start, end in draw(st.lists(st.tuples(place_in, place_in), max_size=3)):
        if start < end:
            edit.wrap(start, end, "(", ")")
    return text, edit


@given(edits())
def test_every_character_is_led_back(found: tuple[str, Rewrite]) -> None:
    text, edit = found
    output, pieces = edit.write()
    source_map = SourceMap(output, text, pieces)
    led_back = ""
    for piece in pieces:
        for index in range(piece.length):
            assert output[piece.start + index] == text[piece.source + index]
            line, column = place(output, piece.start + index)
            start = output.rfind("\n", 0, piece.start + index) + 1
            column = len(output[start : piece.start + index].encode()) + 1
            assert source_map.locate(line, column) == place(text, piece.source + index)
            led_back += text[piece.source + index]
    assert led_back == text, "nothing is lost when nothing is cut"


@given(TEXT.filter(bool), st.data())
def test_places_and_offsets(text: str, data: st.DataObject) -> None:
    offset = data.draw(st.integers(0, len(text) - 1))
    assert offset_of(text, *place(text, offset)) == offset


def test_text_of_ours_counts_as_what_follows_on_its_line() -> None:
    edit = Rewrite("a: 1\nb: 2")
    edit.insert(5, "marker: true, ")
    output, pieces = edit.write()
    source_map = SourceMap(f"{output}\nours: 1", "a: 1\nb: 2", pieces)
    assert source_map.locate(2, 3) == (2, 1)
    assert source_map.locate(3, 1) is None
