"""The words and the structure of CUE text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vela_workflow.cue import scanner, tokens
from vela_workflow.cue.scanner import Comprehension, Embed, Field, Let


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1", ["a", ":", "1"]),
        ("a: 1\nb: 2", ["a", ":", "1", "", "b", ":", "2"]),
        ("a: 1 // c\n// d", ["a", ":", "1", ""]),
        ("a:\n1", ["a", ":", "1"]),
        ("if\na", ["if", "a"]),
        ("_#x #y $z __a ünï", ["_#x", "#y", "$z", "__a", "ünï"]),
        ("1_000 0x1F 0b11 0o17 1.5 1e3 .5 2Ki 1.5G", ["1_000", "0x1F", "0b11", "0o17", "1.5", "1e3", ".5", "2Ki", "1.5G"]),
        ("a!=b =~ c !~ d ...", ["a", "!=", "b", "=~", "c", "!~", "d", "..."]),
        ('"a\\"b" #"c"d"# \'x\'', ['"a\\"b"', '#"c"d"#', "'x'"]),
        ('"""\n  a "b"\n  """', ['"""\n  a "b"\n  """']),
        ('"\\(a("b)")) c"', ['"\\(a("b)")) c"']),
        ('#"\\(no) \\#(yes)"#', ['#"\\(no) \\#(yes)"#']),
        ("a: 1 @x(b, c=\")\") @y", ["a", ":", "1", '@x(b, c=")")', "@y"]),
        ("a: 1\r\nb: 2", ["a", ":", "1", "", "b", ":", "2"]),
        ("_|_ | _", ["_", "|", "_", "|", "_"]),
    ],
)  # fmt: skip
def test_words(text: str, words: list[str]) -> None:
    found = tokens.tokenize(text)
    assert [token.text for token in found] == words
    assert all(text[token.start : token.end] == token.text for token in found)


def test_the_interpolations_of_a_string() -> None:
    (token,) = tokens.tokenize('"a \\(b + "\\(c)") d \\(e)"')
    assert [[inner.text for inner in part] for part in token.parts] == [["b", "+", '"\\(c)"'], ["e"]]
    assert not token.is_plain_string


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"a\\nb\\t\\"\\\\"', 'a\nb\t"\\'),
        ('"\\u00e9\\U0001F600"', "é😀"),
        ("'\\x41\\101'", "AA"),
        ('#"a\\nb\\#nc"#', "a\\nb\nc"),
        ('"""\n  a\n    b\n  """', "a\n  b"),
        ("name", "name"),
    ],
)
def test_values_of_strings(text: str, value: str) -> None:
    assert tokens.unquote(tokens.tokenize(text)[0]) == value


@pytest.mark.parametrize(
    ("text", "offset"),
    [('"a', 0), ('"a\nb"', 0), ('a: """\n', 3), ("a: 1 @x(", 5), ("a: `", 3), ('"\\(a"', 4), ("@", 0)],
)
def test_text_that_cannot_be_cut(text: str, offset: int) -> None:
    with pytest.raises(tokens.ScanError) as raised:
        tokens.tokenize(text)
    assert raised.value.offset == offset


def _shape(text: str) -> list[str]:
    """The declarations at the top, one word each."""
    shape = []
    for decl in scanner.scan(text).body.decls:
        if isinstance(decl, Field):
            marks = "".join(
                mark
                for mark, there in (
                    ("quoted ", decl.quoted),
                    ("pattern ", decl.pattern),
                    ("computed ", decl.is_dynamic),
                    ("definition ", decl.is_definition),
                    (f"alias {decl.alias} ", decl.alias),
                    (f"inner {decl.label_alias} ", decl.label_alias),
                    (f"value {decl.value.alias} ", decl.value.alias),
                    (text[decl.optional_at], decl.optional_at >= 0),
                )
                if there
            )
            shape.append(f"{marks}{decl.name or ''}".strip())
        elif isinstance(decl, Let):
            shape.append(f"let {decl.name}")
        elif isinstance(decl, Embed):
            shape.append("..." if decl.ellipsis else "embed")
        else:
            shape.append("+".join(clause.kind for clause in decl.clauses))
    return shape


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("", []),
        ("a: 1, b: 2\nc: 3", ["a", "b", "c"]),
        ("a?: 1\nb!: 2", ["?a", "!b"]),
        ('"a b": 1\n"\\(x)": 2\n#"\\#(y)"#: 3', ["quoted a b", "quoted computed", "quoted computed"]),
        ("(a): 1\n(a + b)?: 2", ["computed", "computed ?"]),
        ("[string]: 1\n[N=string]: 2\n[_]: _", ["pattern", "pattern inner N", "pattern"]),
        ("X=a: 1\nb: Y={c: 1}\nZ=(q): 2\nV=[string]: 3", ["alias X a", "value Y b", "computed alias Z", "pattern alias V"]),
        ("#d: 1\n_#e: 2\n_h: 3\n$f: 4", ["definition #d", "definition _#e", "_h", "$f"]),
        ("a: b: c: 1\na: X=b: 1", ["a", "a"]),
        ("let x = 1\nlet: 2\nlet y = {a: 1}", ["let x", "let", "let y"]),
        ("if a {b: 1}\nfor x in y {z: 1}\nfor i, x in y if x let q = x if q {z: 1}", ["if", "for", "for+if+let+if"]),
        ("for x in y\nif x\n{z: 1}", ["for+if"]),
        ("if a // }\n{b: 1} // {", ["if"]),
        ("if {a: 1}.a == 1 {b: 1}", ["if"]),
        ("if [for q in [1] {q}][0] == 1 {b: 1}", ["if"]),
        ("if: 1\nfor: 2\nin: 3\nif?: 4\nimport: 5\npackage: 6", ["if", "for", "in", "?if", "import", "package"]),
        ("#x\n{a: 1}\n...\n...int", ["embed", "embed", "...", "..."]),
        ("a.b & {c: 1}\nf(x)", ["embed", "embed"]),
        ("a: *1 | int\nb: >1 & <5\nc: -1 + +2\nd: !e\nf: =~\"x\" & !=\"y\"", ["a", "b", "c", "d", "f"]),
        ("a: b[1:2]\nc: b[:2]\nd: b[1:]\ne: b[0].c[\"d\"].e(1, [2])", ["a", "c", "d", "e"]),
        ("a: [1, 2, ...]\nb: [...int]\nc: [for x in y {x}, if z {1}]", ["a", "b", "c"]),
        ("a: 1 @x(y)\n@z(w)\nb: 2", ["a", "b"]),
        ("a: {\n\n  b: 1,\n\n}\n", ["a"]),
        ("a: 7 div 2\nb: 7 mod 2", ["a", "b"]),
        ("\ufeffa: 1\r\nb: 2\r\n", ["a", "b"]),
        ("1: 2\n\"\": 3", ["1", "quoted"]),
    ],
)  # fmt: skip
def test_declarations(text: str, shape: list[str]) -> None:
    assert _shape(text) == shape


def test_imports_and_what_stands_before_them() -> None:
    text = 'package x // c\n@go(y)\nimport "a/b"\nimport (\n  c "d.e/f:g" // h\n  "i:j"\n)\nk: 1'
    file = scanner.scan(text)
    assert [(found.path, found.name, found.alias) for found in file.imports] == [
        ("a/b", "b", ""),
        ("d.e/f:g", "c", "c"),
        ("i:j", "j", ""),
    ]
    assert [token.text for token in file.attributes] == ["@go(y)"]
    assert [text[start:end].split(maxsplit=1)[0] for start, end in file.preamble] == ["package", "import", "import"]


def test_references_with_their_selectors() -> None:
    (field,) = scanner.scan('a: b.c["d"][0][e].f + g(h).i').body.decls
    assert isinstance(field, Field)
    found = {ref.name: ref.tail for ref in field.value.refs}
    assert found == {"b": ("c", "d", "0", None, "f"), "g": (None, "i")}
    inner = {ref.name for expr in field.value.inner for ref in expr.refs}
    assert inner == {"e", "h"}


def test_names_that_a_loop_binds() -> None:
    decls = scanner.scan("for x in a {b: 1}\nfor i, x in a {b: 1}\nfor _, x in a {b: 1}").body.decls
    assert [decl.clauses[0].names for decl in decls if isinstance(decl, Comprehension)] == [
        ("", "x"),
        ("i", "x"),
        ("_", "x"),
    ]


@pytest.mark.parametrize(
    "text",
    ["a: {", "a: }", "a: [1", "a: (1", "a: f(1", "a: b[1", "a: {b: [}]}", "a: 1 2", "if a", "for x", "a b", "import", 'import ("a"', "a: b."],
)  # fmt: skip
def test_text_that_does_not_match_up(text: str) -> None:
    with pytest.raises(scanner.ScanError) as raised:
        scanner.scan(text)
    assert 0 <= raised.value.offset <= len(text)


@given(st.text(alphabet="ab:=?!.,()[]{}\"'\\#@ \n/+*&|1_if for let", max_size=40))
def test_any_text_is_cut_or_refused(text: str) -> None:
    try:
        file = scanner.scan(text)
    except scanner.ScanError as error:
        assert 0 <= error.offset <= len(text)
    else:
        assert all(0 <= decl.start <= decl.end <= len(text) for decl in file.body.decls)
