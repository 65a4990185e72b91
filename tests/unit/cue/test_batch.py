"""Programs that are put into one file, and whose an error in it is."""

from __future__ import annotations

import pytest

from vela_workflow.cue.batch import Batch, Part, answers

FIRST = 'package p\nimport a "x/a"\nimport s "strings"\nlet W = {\nb: a.B\n}\nOUT: {"v": W.b}\n'
SECOND = 'package p\nimport a "x/a"\nOUT: {"v": a.B}\n'
THIRD = 'package p\nimport "not one of ours"\nOUT: {"v": 1}\n'


@pytest.fixture
def batch() -> Batch:
    """Two programs."""
    made = Batch()
    assert made.add(Part.of(FIRST))
    assert made.add(Part.of(SECOND))
    return made


def test_a_program_is_taken_apart() -> None:
    part = Part.of(FIRST)
    assert part.imports == {"a": '"x/a"', "s": '"strings"'}
    assert part.body == 'let W = {\nb: a.B\n}\nOUT: {"v": W.b}\n'
    assert Part.of(THIRD).body.startswith("import"), "another form is left as it is"


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ('package p\nimport a "x/a"\nOUT: {}\n', True),
        ('package p\nimport c "x/a"\nOUT: {}\n', True),
        ('package p\nimport a "x/other"\nOUT: {}\n', False),
        ('package p\nimport len "strings"\nOUT: {}\n', False),
    ],
)
def test_a_name_means_one_thing_in_a_file(batch: Batch, text: str, *, fits: bool) -> None:
    assert batch.add(Part.of(text)) is fits


def test_no_two_batches_use_the_same_names(batch: Batch) -> None:
    other = Batch()
    other.add(Part.of(FIRST))
    other.add(Part.of(SECOND))
    assert batch.text() != other.text()


def test_an_error_is_led_back_to_its_program(batch: Batch) -> None:
    lines = batch.text().splitlines()
    places = {
        'import s "strings"': {0},
        'import a "x/a"': {0, 1},
        "b: a.B": {0},
        'OUT: {"v": W.b}': {0},
        'OUT: {"v": a.B}': {1},
        lines[-1]: set(),
        "package p": set(),
    }
    for line, wanted in places.items():
        stderr = f"something is wrong:\n    -:{lines.index(line) + 1}:3\n"
        assert batch.named(stderr) == wanted, line
    assert batch.named("of a package:\n    ./cue.mod/pkg/x/a/package.cue:3:4\n") == set()


def test_answers_are_cut_apart() -> None:
    output = (
        b'[\n    {\n        "v": {\n            "a": "}\\n    }"\n        }\n    },\n    {\n        "v": 1\n    }\n]\n'
    )
    assert answers(output) == [
        b'{\n        "v": {\n            "a": "}\\n    }"\n        }\n}',
        b'{\n        "v": 1\n}',
    ]
