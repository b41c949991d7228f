"""Tables in and out: every format, every way a file can be broken, nothing good lost."""

import csv
import gzip
import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.errors import DataError
from shared.tables import Column, Table, read_table, sniff_columns, write_rejects, write_table

TEXT_LABEL = (Column("text"), Column("label"))


def save(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def pairs(table: Table) -> list[tuple[str, str]]:
    return list(zip(table.frame["text"], table.frame["label"], strict=True))


def rejects(table: Table) -> list[tuple[int, str, str]]:
    return [(reject.line, reject.reason, reject.row) for reject in table.rejects]


def message(
    path: Path,
    columns: Sequence[Column] = TEXT_LABEL,
    mapping: Mapping[str, str] = {},
) -> str:
    """The error's text after the path."""
    with pytest.raises(DataError) as caught:
        read_table(path, columns, mapping=mapping)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


# --- good files ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "suffix", ["csv", "tsv", "jsonl", "parquet", "csv.gz", "tsv.gz", "jsonl.gz"]
)
def test_every_format_gives_back_what_was_written(tmp_path: Path, suffix: str) -> None:
    frame = pd.DataFrame(
        {
            "text": ['a, "b"\tc', "line\nbreak", "回车\rhere", "NA", " spaces "],
            "price": [1.5, 0.1, 1e300, -2.0, 3.0],
            "timestamp": pd.date_range("2024-02-28", periods=5, tz="UTC", unit="us"),
        }
    )
    path = tmp_path / f"t.{suffix}"
    write_table(frame, path)
    columns = [
        Column("text"),
        Column("price", kind="number"),
        Column("timestamp", kind="timestamp"),
    ]
    table = read_table(path, columns)
    pd.testing.assert_frame_equal(table.frame, frame)
    assert table.rejects == ()
    assert sniff_columns(path) == ["text", "price", "timestamp"]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")).filter(
            str.strip
        ),
        min_size=1,
    ),
    st.sampled_from(["csv", "tsv", "jsonl"]),
)
def test_any_text_survives_a_round_trip(tmp_path: Path, texts: list[str], suffix: str) -> None:
    path = tmp_path / f"any.{suffix}"
    write_table(pd.DataFrame({"text": texts, "label": "x"}), path)
    table = read_table(path, TEXT_LABEL)
    assert table.frame["text"].tolist() == texts
    assert table.rejects == ()


def test_a_byte_order_mark_crlf_and_blank_lines_are_no_trouble(tmp_path: Path) -> None:
    path = save(tmp_path, "a.csv", "\ufefftext,label\r\n\r\nhello,x\r\n\r\nyou,y\r\n\r\n")
    table = read_table(path, TEXT_LABEL)
    assert pairs(table) == [("hello", "x"), ("you", "y")]
    assert table.lines.tolist() == [3, 5]


@pytest.mark.parametrize(("name", "separator"), [("a.csv", ";"), ("a.csv", "\t"), ("a.tsv", "\t")])
def test_the_separator_is_seen_in_the_header(tmp_path: Path, name: str, separator: str) -> None:
    path = save(tmp_path, name, f"text{separator}label\na, b{separator}x\n")
    assert pairs(read_table(path, TEXT_LABEL)) == [("a, b", "x")]


def test_atomic_files_of_recbole_are_tab_separated(tmp_path: Path) -> None:
    path = save(tmp_path, "a.inter", "user_id:token\titem_id:token\nu1\ti1\n")
    mapping = {"user_id": "user_id:token"}
    assert read_table(path, [Column("user_id")], mapping=mapping).frame["user_id"].tolist() == [
        "u1"
    ]


def test_extra_columns_are_kept(tmp_path: Path) -> None:
    path = save(tmp_path, "a.csv", "id,text,label,more\n007,a,x,NA\n")
    assert read_table(path, TEXT_LABEL).frame.to_dict("records") == [
        {"id": "007", "text": "a", "label": "x", "more": "NA"}
    ]


def test_mapped_columns_get_our_names_and_others_step_aside(tmp_path: Path) -> None:
    path = save(tmp_path, "a.csv", "text,label,query\nold,x,new\n")
    frame = read_table(path, TEXT_LABEL, mapping={"text": "query"}).frame
    assert frame.to_dict("records") == [{"text.file": "old", "label": "x", "text": "new"}]


def test_one_column_may_serve_two_of_ours(tmp_path: Path) -> None:
    path = save(tmp_path, "a.csv", "title\nhello\n")
    mapping = {"text": "title", "label": "title"}
    assert pairs(read_table(path, TEXT_LABEL, mapping=mapping)) == [("hello", "hello")]


def test_a_column_that_is_not_required_may_be_absent(tmp_path: Path) -> None:
    path = save(tmp_path, "a.csv", "text\nhello\n")
    frame = read_table(path, [Column("text"), Column("label", required=False)]).frame
    assert list(frame.columns) == ["text"]


def test_json_values_become_text_and_other_keys_stay_as_they_are(tmp_path: Path) -> None:
    rows = [
        {"text": "a", "label": 12, "turns": [{"by": "bot"}]},
        {"text": "b", "label": ["x", "y"]},
        {"text": "c", "label": True},
    ]
    path = save(tmp_path, "a.jsonl", "\n".join(map(json.dumps, rows)))
    table = read_table(path, TEXT_LABEL)
    assert pairs(table) == [("a", "12"), ("b", "x|y"), ("c", "true")]
    assert table.frame["turns"].tolist() == [[{"by": "bot"}], None, None]


def test_whole_numbers_with_gaps_stay_whole_as_text(tmp_path: Path) -> None:
    frame = pd.DataFrame({"item": pd.array([7, None, 9], dtype="Int64")})
    frame.to_parquet(tmp_path / "a.parquet")
    table = read_table(tmp_path / "a.parquet", [Column("item", allow_empty=True)])
    assert table.frame["item"].tolist() == ["7", "", "9"]


# --- bad rows -----------------------------------------------------------------------------------


def test_line_numbers_are_those_of_an_editor_also_after_quoted_line_breaks(tmp_path: Path) -> None:
    content = 'text,label\n"two\nlines",x\nshort\none,two,three\n,y\nlast,z\n'
    table = read_table(save(tmp_path, "a.csv", content), TEXT_LABEL)
    assert pairs(table) == [("two\nlines", "x"), ("last", "z")]
    assert table.lines.tolist() == [2, 7]
    assert rejects(table) == [
        (4, "1 fields, expected 2 (text, label)", "short"),
        (5, "3 fields, expected 2 (text, label)", "one,two,three"),
        (6, "text is empty", ",y"),
    ]


@pytest.mark.parametrize(
    "tail", ["a,x\nb,y\n", 'a "quoted" word,x\nb,y\n', '"a",x\nb,y', 'a,"x\nb,y"\n']
)
def test_a_quote_that_never_closes_costs_its_line_only(tmp_path: Path, tail: str) -> None:
    clean = read_table(save(tmp_path, "clean.csv", "text,label\n" + tail), TEXT_LABEL)
    torn = read_table(save(tmp_path, "torn.csv", 'text,label\n"open,l\n' + tail), TEXT_LABEL)
    assert pairs(torn) == pairs(clean)
    assert rejects(torn) == [(2, 'a quote (") opens here and never closes', '"open,l')]


def test_many_open_quotes_take_no_quadratic_time(tmp_path: Path) -> None:
    content = "text,label\n" + 'good,x\n"open,y\n' * 3000
    table = read_table(save(tmp_path, "a.csv", content), TEXT_LABEL)
    assert len(table.frame) + len(table.rejects) == 6000
    assert len(table.frame) >= 3000


def test_in_tsv_a_quote_may_be_just_a_quote(tmp_path: Path) -> None:
    table = read_table(save(tmp_path, "a.tsv", 'text\tlabel\n"Great\tx\nok\ty\n'), TEXT_LABEL)
    assert pairs(table) == [('"Great', "x"), ("ok", "y")]


def test_nul_characters_and_bare_carriage_returns_reject_their_row(tmp_path: Path) -> None:
    table = read_table(save(tmp_path, "a.csv", "text,label\na\0b,x\nc\rd,y\ne,z\n"), TEXT_LABEL)
    assert pairs(table) == [("e", "z")]
    assert rejects(table) == [
        (2, "holds a NUL character", "a\ufffdb,x"),
        (3, "a carriage return in the middle of the row", "c\rd,y"),
    ]


def test_a_field_beyond_all_measure_is_rejected(tmp_path: Path) -> None:
    content = f"text,label\n{'x' * (csv.field_size_limit() + 1)},l\nok,l\n"
    table = read_table(save(tmp_path, "a.csv", content), TEXT_LABEL)
    assert pairs(table) == [("ok", "l")]
    assert [reject.reason for reject in table.rejects] == [
        "a field of more than 131,072 characters"
    ]


def test_broken_json_lines_are_rejected_with_their_place(tmp_path: Path) -> None:
    lines = [
        '{"text": "a", "label": "x"}',
        '{"text": "b", "label"',
        "[1]",
        '{"text": "cut \\ud83d", "label": "x"}',
        "",
        '{"text": "no label"}',
        '{"text": {"a": 1}, "label": "x"}',
        "[" * 100_000,
        '{"text": "z", "label": "x"}',
    ]
    table = read_table(save(tmp_path, "a.jsonl", "\n".join(lines)), TEXT_LABEL)
    assert pairs(table) == [("a", "x"), ("z", "x")]
    assert [(line, reason) for line, reason, _ in rejects(table)][:5] == [
        (2, "not JSON: Expecting ':' delimiter at character 23"),
        (3, "an array, expected an object"),
        (4, "holds half a surrogate pair"),
        (6, "label is empty"),
        (7, 'text is {"a": 1}, expected text'),
    ]
    assert table.rejects[5].line == 8


def test_a_wrong_byte_in_a_large_file_rejects_its_row(tmp_path: Path) -> None:
    content = b"text,label\n" + b"good,x\n" * 200 + b"caf\xe9,x\n"
    table = read_table(save(tmp_path, "a.csv", content), TEXT_LABEL)
    assert len(table.frame) == 200
    assert rejects(table) == [(202, "byte 0xe9 is not UTF-8", "caf\ufffd,x")]


def test_numbers_and_time_stamps_that_are_none_are_rejected(tmp_path: Path) -> None:
    content = "u,t\n1.5,2024-01-01\nx,2024-01-01\ninf,2024-01-01\n2,soon\n3,\n"
    columns = [Column("u", kind="number"), Column("t", kind="timestamp")]
    table = read_table(save(tmp_path, "a.csv", content), columns)
    assert table.frame["u"].tolist() == [1.5]
    assert [(line, reason) for line, reason, _ in rejects(table)] == [
        (3, "u is 'x', expected number"),
        (4, "u is 'inf', expected number"),
        (5, "t is 'soon', expected timestamp"),
        (6, "t is empty"),
    ]


def test_empty_cells_are_kept_where_they_are_allowed(tmp_path: Path) -> None:
    columns = [
        Column("text", allow_empty=True),
        Column("u", kind="number", allow_empty=True),
        Column("t", kind="timestamp", allow_empty=True),
    ]
    table = read_table(save(tmp_path, "a.csv", "text,u,t\n,,\n"), columns)
    row = table.frame.iloc[0]
    assert row["text"] == ""
    assert np.isnan(row["u"])
    assert row["t"] is pd.NaT
    assert table.rejects == ()


def test_every_row_gives_one_row_for_each_row_of_the_file(tmp_path: Path) -> None:
    content = 'text,label\na,x\nshort\n,y\nb,c,d\n"open,q\ne\0f,z\n'
    path = save(tmp_path, "a.csv", content)
    table = read_table(path, TEXT_LABEL, every_row=True)
    assert pairs(table) == [
        ("a", "x"), ("short", ""), ("", "y"), ("b", "c"), ('"open', "q"), ("e\ufffdf", "z"),
    ]  # fmt: skip
    assert [reject.line for reject in table.rejects] == [3, 4, 5, 6, 7]


def test_rejects_are_written_with_line_reason_and_row(tmp_path: Path) -> None:
    table = read_table(save(tmp_path, "a.csv", 'text,label\n"x\ny",\nok,l\n'), TEXT_LABEL)
    write_rejects(table, tmp_path / "deep" / "rejects.csv")
    written = pd.read_csv(tmp_path / "deep" / "rejects.csv")
    assert written.to_dict("records") == [{"line": 2, "reason": "label is empty", "row": '"x\ny",'}]


# --- files that cannot be read ------------------------------------------------------------------


def test_what_is_no_table_is_said_in_one_line(tmp_path: Path) -> None:
    assert message(tmp_path / "no.csv") == "no such file"
    (tmp_path / "folder.csv").mkdir()
    assert message(tmp_path / "folder.csv").startswith("is a folder, expected a file (.csv .tsv")
    assert message(save(tmp_path, "zero.csv", "")) == "is empty (0 bytes)"
    assert message(save(tmp_path, "blank.csv", "\n\n")) == "holds no line with text"
    assert message(save(tmp_path, "a.xls", "x")) == (
        "cannot tell the format from its name; "
        "expected .csv .tsv .jsonl .parquet (.csv.gz .tsv.gz .jsonl.gz)"
    )
    assert message(save(tmp_path, "x.csv", b"PK\x03\x04rest")) == (
        "is an Excel or zip file; save it as CSV (UTF-8)"
    )
    assert message(save(tmp_path, "array.jsonl", '[{"text": "a"}]')) == (
        "is one JSON array; .jsonl holds one object on each line"
    )
    assert message(save(tmp_path, "p.parquet", b"text,label\na,b\n")).startswith(
        "is not a sound Parquet file: "
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    path = save(tmp_path, "a.csv", "text,label\na,b\n")
    path.chmod(0)
    assert message(path) == "cannot be read: Permission denied"


def test_a_header_alone_and_a_file_of_bad_rows_are_told_apart(tmp_path: Path) -> None:
    assert message(save(tmp_path, "a.csv", "text,label\n")) == (
        "has a header (text, label) but no rows"
    )
    assert message(save(tmp_path, "b.csv", "text,label\n,x\nq\n")) == (
        "none of its 2 rows can be used; the first: line 2: text is empty"
    )


def test_a_torn_gzip_file_is_an_error(tmp_path: Path) -> None:
    content = gzip.compress(b"text,label\n" + b"a,b\n" * 1000)
    assert message(save(tmp_path, "a.csv.gz", content[:-20])) == (
        "the gzip file is torn (it ends too early); copy it again"
    )
    assert message(save(tmp_path, "b.csv.gz", b"text,label\n")).startswith(
        "is not a sound gzip file: "
    )


def test_another_encoding_names_line_byte_and_the_way_out(tmp_path: Path) -> None:
    path = save(tmp_path, "a.csv", "text,label\nok,x\ncafé,x\n".encode("latin-1"))
    assert message(path) == (
        "line 3, byte 4 (0xe9) is not UTF-8 (1 such lines); save it as UTF-8 (in a spreadsheet: "
        "CSV UTF-8), or convert it: iconv -f CP1252 -t UTF-8 OLD > NEW (CP1252: Western Windows; "
        "GB18030: Chinese)"
    )


def test_the_conversion_that_the_message_names_works(tmp_path: Path) -> None:
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    old.write_bytes("text,label\ncafé – 20 €,x\n".encode("cp1252"))
    command = re.search(r"iconv .* NEW", message(old))
    assert command is not None
    run = command.group().replace("OLD", str(old)).replace("NEW", str(new))
    subprocess.run(run, shell=True, check=True)
    assert pairs(read_table(new, TEXT_LABEL)) == [("café – 20 €", "x")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_utf_8_and_what_a_byte_order_mark_names_are_read(tmp_path: Path, encoding: str) -> None:
    path = save(tmp_path, "a.csv", "text,label\n退款 😀,x\n".encode(encoding))
    assert pairs(read_table(path, TEXT_LABEL)) == [("退款 😀", "x")]


def test_utf_16_of_the_other_byte_order_is_read(tmp_path: Path) -> None:
    path = save(tmp_path, "a.tsv", b"\xfe\xff" + "text\tlabel\n退款\tx\n".encode("utf-16-be"))
    assert pairs(read_table(path, TEXT_LABEL)) == [("退款", "x")]


def test_torn_utf_16_names_the_byte(tmp_path: Path) -> None:
    whole = "text,label\na,x\n".encode("utf-16")
    assert message(save(tmp_path, "a.csv", whole[:-1])) == (
        f"begins as UTF-16 and is not at byte {len(whole) - 1}; save it as UTF-8"
    )


def test_a_missing_column_lists_what_is_there_and_guesses(tmp_path: Path) -> None:
    path = save(tmp_path, "a.csv", "Texts,intent\na,b\n")
    assert message(path) == (
        "no column 'text'; the file has: Texts, intent; did you mean 'Texts'? "
        "(name the right one with --text-column)"
    )
    assert message(path, mapping={"text": "Text"}) == (
        "no column 'Text'; the file has: Texts, intent; did you mean 'Texts'? "
        "(check --text-column Text)"
    )
    assert "(name the right one with --user-column)" in message(path, [Column("user_id")])
    assert "(name the right one with --time-column)" in message(path, [Column("timestamp")])
    assert "(name the right one with --when)" in message(path, [Column("t", option="--when")])


# --- writing ------------------------------------------------------------------------------------


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_table(pd.DataFrame({"a": [1]}), path)
    before = path.read_bytes()
    with pytest.raises(Exception, match=r"(?i)convert|expected|type"):
        write_table(pd.DataFrame({"a": [1, "x", {"y": 2}]}), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.parquet"]


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError) as caught:
        write_table(pd.DataFrame({"a": [1]}), tmp_path / "file" / "a.csv")
    assert str(caught.value).startswith(f"{tmp_path / 'file' / 'a.csv'}: cannot be written: ")


def test_equal_tables_give_equal_gzip_files(tmp_path: Path) -> None:
    for name in ("a.csv.gz", "b.csv.gz"):
        write_table(pd.DataFrame({"a": ["x"]}), tmp_path / name)
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()


def test_nested_cells_are_json_in_csv(tmp_path: Path) -> None:
    frame = pd.DataFrame({"ranking": [[["a", 0.5]], np.array([1, 2])], "none": [None, "x"]})
    write_table(frame, tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == ('ranking,none\n"[[""a"", 0.5]]",\n"[1, 2]",x\n')
    assert isinstance(frame["ranking"].iloc[1], np.ndarray)


def test_written_files_have_ordinary_permissions(tmp_path: Path) -> None:
    write_table(pd.DataFrame({"a": ["x"]}), tmp_path / "a.csv")
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "a.csv").stat().st_mode == (tmp_path / "plain").stat().st_mode
