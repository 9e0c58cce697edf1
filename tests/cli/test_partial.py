"""A node that loads in part: what it lacks is told, policy may ask, --with mends it."""

import pytest
from support.refusal import assert_refused

CLASS = """class {0}:
    RETURN_TYPES, FUNCTION, CATEGORY = (), "run", "x"
    @classmethod
    def INPUT_TYPES(cls):
        return {{"required": {{}}}}
    def run(self):
        return ()
NODE_CLASS_MAPPINGS = {{"{0}": {0}}}
"""
INIT = (
    CLASS.format("Plain")
    + """
try:
    from .talking import NODE_CLASS_MAPPINGS as talking
    NODE_CLASS_MAPPINGS.update(talking)
except ImportError:
    pass
"""
)


@pytest.fixture
def site(settled):
    if not (settled.site.world.repos / "half").exists():
        talking = "import lark\n" + CLASS.format("Talking")
        settled.site.world.add("half", {"__init__.py": INIT, "talking.py": talking})
    return settled.site


def put_policy(site, value):
    path = site.root / "config.toml"
    text = path.read_text()
    assert 'partial = "allow"' in text
    path.write_text(text.replace('partial = "allow"', f'partial = "{value}"'))


def test_it_is_told_with_the_way_to_mend_it(site):
    site.add("half")
    told = site.gov("tx", "run", "half").ok()
    lines = [line.strip() for line in told.out.splitlines()]
    at = lines.index("IN PART: half: 1 of its 2 classes is missing")
    assert lines[at + 1] == "Talking: of talking.py, which needs lark  [half/__init__.py:10]"
    assert lines[-1] == "next: gov tx run half --with 'lark'"
    seen = site.gov("tx", "inspect", lines[0].split()[0], "--json").data["observation"]
    assert [row["classes"] for row in seen["partial"]] == [["Talking"]]
    site.gov("tx", "promote", lines[0].split()[0]).ok()

    mended = site.gov("tx", "run", "half", "--with", "lark").ok()
    assert "IN PART" not in mended.out
    assert "2 classes (Plain, Talking)" in mended.out


@pytest.mark.family(1)
@pytest.mark.parametrize("policy", ["ask", "refuse"])
def test_policy_may_ask_or_refuse(site, policy):
    put_policy(site, policy)
    txid = site.run("half")
    ended = assert_refused(site, "tx", "promote", txid, code=3, says="half loaded in part: 1 of")
    assert ended.error["code"] == "partial"
    assert ended.error["facts"]["partial"][0]["classes"] == ["Talking"]
    if policy == "ask":
        site.gov("tx", "promote", txid, "--accept-findings").ok()
    else:
        assert_refused(
            site, "tx", "promote", txid, "--accept-findings", code=3, says="loaded in part"
        )
