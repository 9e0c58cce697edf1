"""Names and versions read from what lies in site-packages."""

import pytest

from governance.observation import looker


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_only_the_headers_are_read_however_lines_end(tmp_path, end):
    """tabulate's METADATA has CRLF, and lines that look like headers in its description."""
    lines = ["Metadata-Version: 2.4", "Name: Tabu_Late", "Version: 0.10.0", "", "name:", "Version:"]
    folder = tmp_path / "tabu_late-0.10.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_bytes(end.join(lines).encode())
    assert looker.look(tmp_path) == [["Tabu_Late", "0.10.0", None]]
