import pytest

from governance.requirements.index_line import named_index

URL = "https://example.org/whl/cu121"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (f"--extra-index-url {URL}", (URL, False)),
        (f"--extra-index-url={URL}/", (URL, False)),
        (f"-i {URL}  # ours", (URL, False)),
        (f"--find-links {URL}/page.html", (f"{URL}/page.html", True)),
        (f"-f {URL}", (URL, True)),
        (f"torch==2.1 --index-url {URL}", (URL, False)),
        (f'--extra-index-url "{URL}"', None),
        ("--extra-index-url https://***@example.org/simple", None),
        ("--find-links ./wheels", None),
        ("--pre", None),
        (f"pkg @ {URL}/pkg.whl", None),
    ],
)
def test_the_index_that_a_line_names(line, found):
    assert named_index(line) == found
