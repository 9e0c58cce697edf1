"""The generated parts are as the code is, and nothing that is written by hand is missing."""

import re
import shutil

import pytest

from governance.base import errors
from governance.boundaries import config
from governance.cli import reference
from governance.cli.reference import Table
from governance.truth import documents

from . import pages


def part(page, name):
    return dict(reference.parts((pages.DOCS / page).read_text()))[name]


def rows(body):
    """The cells of a table, without its head."""
    lines = [line for line in body.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def test_the_documents_are_current():
    """Else: .venv/bin/python -m governance.cli.reference docs"""
    assert [path.name for path in reference.stale(pages.DOCS)] == []


def test_no_cell_is_left_empty():
    empty = [
        f"{page.name}: {row[0]} in {name}"
        for page in pages.PAGES
        for name, body in reference.parts(page.read_text())
        for row in rows(body)
        if row[-1] == "" or row[0] == ""
    ]
    assert empty == []


def test_every_document_class_is_described():
    found = {name for name, _ in reference.parts((pages.DOCS / "05_data_contracts.md").read_text())}
    for kind in reference.DOCUMENTS:
        assert f"document {kind.__name__}" in found


def test_a_document_s_fields_are_those_of_the_class():
    told = [row[0].strip("`") for row in rows(part("05_data_contracts.md", "document Plugin"))]
    plugin = documents.Plugin(id="a", git_url="b", group="node-a")
    assert told == list(plugin.to_json())


def test_every_status_is_described():
    told = [row[0].strip("`") for row in rows(part("05_data_contracts.md", "moves"))]
    assert told == list(documents.MOVES)


def test_every_setting_is_described():
    told = [row[0].strip("`") for row in rows(part("03_runtime_and_operations.md", "settings"))]
    assert told == [setting.key for setting in config.SETTINGS]


def test_every_exit_code_is_described():
    told = {int(row[0]) for row in rows(part("04_cli_reference.md", "exit codes"))}
    codes = {value for name, value in vars(errors).items() if name.startswith("EXIT_")}
    assert told == codes == {0, 1, 2, 3, 4, 5, 70, 130, 143}


def test_every_code_raised_has_its_way_out():
    """By plain search of the text, which knows nothing of the generator's reading."""
    told = {row[0].strip("`") for row in rows(part("08_troubleshooting_and_limits.md", "errors"))}
    literal = set()
    for folder in ("governance", "tasks"):
        for path in (pages.CHECKOUT / folder).rglob("*.py"):
            if "sample" not in path.parts:
                literal |= set(re.findall(r'\bcode="(\w+)"', path.read_text()))
    assert len(literal) > 50
    assert literal - told == set()


def test_codes_that_are_computed_are_listed_by_hand():
    files = {file for file, call, _ in reference.raised() if reference.is_computed(call)}
    assert files == set(reference.COMPUTED)
    for file, codes in reference.COMPUTED.items():
        text = (pages.CHECKOUT / file).read_text()
        assert all(f'"{code}"' in text for code in codes), file


def test_exit_codes_come_with_their_class():
    found = reference.error_codes()
    assert found["core_approval"] == {3}
    assert found["usage"] == {2}
    assert found["lock_conflict"] == {4}
    assert found["bug"] == {70}
    assert found["terminated"] == {143}


def test_hand_written_cells_are_kept_and_new_rows_are_empty():
    before = "| key | x | by hand |\n| --- | --- | --- |\n| `a` | old | kept \\| as it is |\n"
    table = Table(("key", "x"), [("`a`", "new"), ("`b`", "new")], ("by hand",))
    assert table.text(before).splitlines()[2:] == [
        "| `a` | new | kept \\| as it is |",
        "| `b` | new |  |",
    ]


@pytest.fixture
def docs(tmp_path):
    return shutil.copytree(pages.DOCS, tmp_path / "docs")


def test_check_tells_what_is_not_current_and_writes_nothing(docs, capsys):
    page = docs / "03_runtime_and_operations.md"
    page.write_text(page.read_text().replace("| `tx.settle_seconds` | `3`", "| `tx.x` | `4`"))
    before = page.read_text()
    assert reference.main([str(docs), "--check"]) == 1
    assert capsys.readouterr().out == f"not current: {page}\n"
    assert page.read_text() == before


def test_it_is_written_back_as_it_was(docs, capsys):
    page = docs / "03_runtime_and_operations.md"
    wanted = page.read_text()
    page.write_text(wanted.replace("| `tx.settle_seconds` | `3`", "| `tx.x` | `4`"))
    assert reference.main([str(docs)]) == 0
    assert page.read_text() == wanted
    assert reference.main([str(docs), "--check"]) == 0


def test_a_part_of_an_unknown_name_is_no_silence(docs):
    page = docs / "03_runtime_and_operations.md"
    page.write_text(page.read_text() + "\n<!-- generated: nothing -->\n<!-- end -->\n")
    with pytest.raises(KeyError):
        reference.stale(docs)
