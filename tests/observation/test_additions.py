"""What a node installed without declaring it, as it asked for it."""

from governance.changes import trial_run
from governance.observation import Observation
from governance.truth.lockfile import Change

AT = "node/__init__.py:3"


def additions(undeclared, *requests):
    """`undeclared`: name -> version, or `@ url`."""
    install = {"action": "install", "outcome": "succeeded", "requested": requests, "at": AT}
    seen = Observation(installs=[install])
    changes = [Change(name, None, after) for name, after in undeclared.items()]
    return [tuple(asked) for asked in trial_run._additions(seen, changes)]


def test_as_it_was_asked_for():
    assert additions({"lark": "1"}, "lark>=1", "lark>=1", "numpy") == [("lark>=1", AT)]


def test_a_dependency_that_came_with_a_request_is_the_resolvers():
    assert additions({"lark": "1", "regex": "2"}, "lark") == [("lark", AT)]


def test_by_name_where_nobody_knows():
    assert additions({"lark": "1", "regex": "2"}) == [("lark", ""), ("regex", "")]


def test_a_url_is_not_replaced_by_the_index():
    """By name alone, the package of that name in the index would come into prod instead."""
    url = "@ git+https://example.invalid/a/foo@abc"
    assert additions({"foo": url}, "git+https://example.invalid/a/foo") == [(f"foo {url}", "")]
    assert additions({"foo": url, "lark": "1"}, "lark") == [("lark", AT), (f"foo {url}", "")]
