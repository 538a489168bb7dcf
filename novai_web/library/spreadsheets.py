"""Hooks as CSV: read with an error for each wrong line, written so that no spreadsheet runs them."""

import csv
import io
import re
from collections.abc import Iterator, Sequence

from novai_web.db import session
from novai_web.errors import InvalidInput
from novai_web.library import hooks, words
from novai_web.library.assets import Library
from novai_web.library.hooks import Added, Line
from novai_web.library.models import Hook

COLUMNS = ("text", "category")
ERRORS_SHOWN_MAX = 20
_ROWS_AT_ONCE = 1000

# A cell that begins so is a formula to some spreadsheet (OWASP, CSV injection); an apostrophe before it says "text".
_FORMULA = re.compile(r"'*[\s]*[=+\-@\t\r\0＝＋－＠]")
_GUARDED = re.compile(r"'+[\s]*[=+\-@\t\r\0＝＋－＠]")


def safe_cell(text: str) -> str:
    """The same text, guarded so that a spreadsheet shows it and never runs it. `read_cell` gives it back."""
    return f"'{text}" if _FORMULA.match(text) else text


def read_cell(text: str) -> str:
    return text[1:] if _GUARDED.match(text) else text


def written(library: Library) -> Iterator[str]:
    """All hooks as CSV, piece by piece, oldest first. Begins with a mark by which Excel knows that it is UTF-8."""
    yield "\ufeff" + _row(COLUMNS)
    last_id = 0
    while rows := session.execute(
        library.hooks()
        .with_only_columns(Hook.id, Hook.text, Hook.category)
        .where(Hook.id > last_id)
        .order_by(Hook.id)
        .limit(_ROWS_AT_ONCE)
    ).all():
        yield "".join(_row((safe_cell(text), safe_cell(category))) for _, text, category in rows)
        last_id = rows[-1][0]


def load(library: Library, content: bytes) -> Added:
    """Add the hooks of a CSV file, all or none. Raises InvalidInput with a sentence for each wrong line."""
    lines, errors = _read(_decoded(content))
    if errors:
        raise InvalidInput(errors, "Nothing was added: some lines need another look.")
    return hooks.add_lines(library, lines, field="file")


def _read(text: str) -> tuple[Sequence[Line], dict[str, str]]:
    lines: list[Line] = []
    errors: dict[str, str] = {}
    reader = csv.reader(io.StringIO(text, newline=""), _dialect(text))
    columns: list[str] | None = None
    try:
        for cells in reader:
            if columns is None:
                columns = _columns(cells)
                if columns[0] == "header":
                    columns = columns[1:]
                    continue
            _take(dict(zip(columns, cells, strict=False)), f"line {reader.line_num}", lines, errors)
            if len(errors) >= ERRORS_SHOWN_MAX or len(lines) > hooks.HOOKS_A_REQUEST_MAX:
                break
    except csv.Error as problem:
        errors[f"line {reader.line_num}"] = f"This line is not CSV ({problem})."
    return lines, errors


def _take(row: dict[str, str], place: str, lines: list[Line], errors: dict[str, str]) -> None:
    text = words.plain(read_cell(row.get("text", "")), lines=True)
    category = words.name(read_cell(row.get("category", "")))
    if not text:
        return
    if len(text) > hooks.TEXT_CHARACTERS_MAX:
        errors[place] = hooks.too_long(text)
    elif len(category) > hooks.CATEGORY_CHARACTERS_MAX:
        errors[place] = f"Its category is longer than {hooks.CATEGORY_CHARACTERS_MAX} characters."
    else:
        lines.append(Line(text, category))


def _columns(first: Sequence[str]) -> list[str]:
    """The names of the columns; a file without a line of names has the text first, then the category."""
    names = [cell.strip().lower() for cell in first]
    known = {"text": "text", "hook": "text", "hooks": "text", "category": "category"}
    if "text" in [known.get(name) for name in names]:
        return ["header", *(known.get(name, f"unknown {place}") for place, name in enumerate(names))]
    return list(COLUMNS)


def _dialect(text: str) -> type[csv.Dialect]:
    """Spreadsheets of half the world write semicolons; the first line tells."""
    first = text.split("\n", 1)[0]

    class Found(csv.excel):
        delimiter = max(",;\t", key=first.count) if any(mark in first for mark in ";\t") else ","

    return Found


def _decoded(content: bytes) -> str:
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as problem:
        line = content.count(b"\n", 0, problem.start) + 1
        said = f"Line {line} is not UTF-8. Save the file as “CSV UTF-8” and send it again."
        raise InvalidInput({"file": said}) from None
    if "\0" in text:
        raise InvalidInput({"file": "This is not a CSV file. Save the sheet as “CSV UTF-8” and send that."})
    return text


def _row(cells: Sequence[str]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(cells)
    return out.getvalue()
