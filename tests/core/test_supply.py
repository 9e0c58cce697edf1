"""The rules of a supply chain by themselves: what they read, whom they mean, what uv is told."""

import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from governance.base.errors import UsageError
from governance.boundaries import config
from governance.supply import advisories, authors, packages, project, rules
from governance.supply.project import Seen
from governance.supply.rows import gating, marked
from governance.truth.resolution import Index, Project, Settings, new_project

NOW = datetime(2026, 6, 30, tzinfo=UTC)


def given(**settings):
    """Rules of these settings and the defaults."""
    values = config.defaults().values
    for name, value in settings.items():
        assert f"policy.{name}" in values
        values[f"policy.{name}"] = value
    return rules.of(config.Config(Path("config.toml"), values))


def lock_of(*rows):
    """A lock of (name, version, days since its upload or None, index)."""
    return {
        "package": [
            {
                "name": name,
                "version": version,
                "source": {"registry": index},
                "wheels": [{"url": "x", **_uploaded(days)}],
            }
            for name, version, days, index in rows
        ]
    }


def _uploaded(days):
    if days is None:
        return {}
    return {"upload-time": (NOW - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%S.5Z")}


PYPI = "https://pypi.org/simple"


@pytest.mark.parametrize(
    ("text", "days"),
    [("3 days", 3), ("1 week", 7), ("2 weeks 1 day", 15), ("36h", 1.5), ("P3D", 3), ("P1W2D", 9)],
)
def test_spans_as_uv_takes_them(text, days):
    assert rules.span(text) == timedelta(days=days)


@pytest.mark.parametrize("text", ["3", "days", "3 fortnights", "1 month", "-3 days", "3 daysx"])
def test_other_spans_are_refused(text):
    with pytest.raises(UsageError):
        given(minimum_release_age=text)


def test_an_item_is_a_name_a_pattern_or_a_range():
    items = ["evil", "acme-*", "requests<2.32"]
    assert rules.listed("Evil", "1", items) == "evil"
    assert rules.listed("acme_core", "1", items) == "acme-*"
    assert rules.listed("requests", "2.31.0", items) == "requests<2.32"
    assert rules.listed("requests", "2.32.0", items) == ""
    assert rules.listed("requests", "@ https://x/y.whl", items) == "requests<2.32"
    assert rules.listed("good", "1", items) == ""


@pytest.mark.parametrize(
    ("url", "author"),
    [
        ("https://github.com/Cubiq/ComfyUI_essentials", "github.com/cubiq"),
        ("https://github.com:443/cubiq/x.git", "github.com/cubiq"),
        ("git@github.com:cubiq/x.git", "github.com/cubiq"),
        ("ssh://git@github.com/cubiq/x", "github.com/cubiq"),
        ("https://gitlab.com/group/sub/x", "gitlab.com/group/sub"),
        ("https://evil@github.com.evil.org/cubiq/x", "github.com.evil.org/cubiq"),
        ("/srv/repos/x", "local"),
        ("file:///srv/repos/x", "local"),
        ("", "local"),
    ],
)
def test_an_author_is_host_and_owner(url, author):
    assert authors.of_url(url) == author


def test_the_repository_that_a_publisher_names_blocks_and_never_allows():
    known = {"id": "x", "publisher": "evil", "repository": "https://github.com/good/x"}
    allowed = given(allowed_authors=["github.com/good"])
    assert [r["kind"] for r in authors.look(allowed, "x", "", known)] == ["blocked_author"]
    assert authors.look(given(allowed_authors=["registry/evil"]), "x", "", known) == []
    blocked = given(blocked_authors=["github.com/GOOD"])
    assert [r["kind"] for r in authors.look(blocked, "x", "", known)] == ["blocked_author"]
    unknown = authors.look(allowed, "x", "", {"id": "x"})
    assert unknown[0]["sentence"].startswith("x has no known publisher")


def test_the_most_exact_pattern_names_the_index():
    ruled = given(package_indexes={"*": PYPI, "acme-*": "https://a/s", "acme-open": PYPI})
    found = [ruled.index_of(name) for name in ("numpy", "acme_core", "acme-open")]
    assert found == [PYPI, "https://a/s", PYPI]
    lock = lock_of(("acme-core", "1", 9, PYPI), ("numpy", "1", 9, f"{PYPI}/"))
    (row,) = packages.look(ruled, lock, ())
    assert (row["kind"], row["subject"], row["wanted"]) == (
        "wrong_index",
        "acme-core",
        "https://a/s",
    )


def test_ages_are_told_and_pins_of_comfyui_are_free(monkeypatch):
    monkeypatch.setattr("governance.base.clock.now", lambda: NOW)
    ruled = given(minimum_release_age="3 days", release_age_exempt=["free-*"])
    lock = lock_of(
        ("old", "1", 4, PYPI),
        ("young", "1", 2, PYPI),
        ("free-one", "1", 2, PYPI),
        ("frontend", "1", 1, PYPI),
        ("timeless", "1", None, PYPI),
    )
    found = packages.look(ruled, lock, {"frontend"})
    assert [(r["kind"], r["subject"]) for r in found] == [
        ("young_release", "young"),
        ("release_age_unknown", "timeless"),
    ]
    assert gating(marked(found, {"young": "1", "timeless": "0"}))[0]["subject"] == "timeless"
    assert packages.look(given(), lock, ()) == []


def made(*core, date=None):
    settings = Settings("3.11", "3.11.7", date=date, indexes=[Index(PYPI)])
    return Project(new_project(settings, core))


def test_what_comfyui_pins_is_free_with_the_parts_that_are_named_after_it():
    declared = made("frontend==1.2", "templates==3; python_version > '3'", "numpy>=1", "torch")
    known = ["templates-core", "templatesque", "numpy-x"]
    assert project.pinned(declared, known) == {"frontend", "templates", "templates-core"}


def lock_bytes(name, days):
    time = (NOW - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = f'version = 1\n[[package]]\nname = "{name}"\nversion = "1"\n'
    text += f'source = {{ registry = "{PYPI}" }}\n'
    return f'{text}wheels = [{{ url = "x", upload-time = "{time}" }}]\n'.encode()


def uv_of(ruled, before, lock=None, seen=None):
    after = project.kept(ruled, before, lock, seen or Seen(), NOW)
    return after, tomllib.loads(after.text)["tool"]["uv"]


def test_uv_is_told_the_age_and_told_nothing_any_more_when_the_setting_goes():
    before = made("frontend==1.2", "numpy")
    ruled = given(minimum_release_age="3 days")
    after, uv = uv_of(ruled, before, lock_bytes("numpy", 1))
    assert uv["exclude-newer"] == "3 days"
    free = uv["exclude-newer-package"]
    assert free == {"frontend": False, "numpy": "2026-06-29T00:00:01Z"}
    assert project.kept(ruled, after, lock_bytes("numpy", 1), Seen(), NOW).text == after.text
    assert after.date is None
    gone, uv = uv_of(given(), after)
    assert tomllib.loads(gone.text) == tomllib.loads(before.text)


def test_the_older_of_age_and_date_binds():
    ruled = given(minimum_release_age="3 days")
    old = made("numpy", date="2025-01-01T00:00:00Z")
    assert uv_of(ruled, old)[1] == tomllib.loads(old.text)["tool"]["uv"]
    young = made("numpy", date="2026-06-29T00:00:00Z")
    after, uv = uv_of(ruled, young)
    assert uv["exclude-newer"] == "3 days"
    assert uv_of(given(), after)[1]["exclude-newer"] == "2026-06-29T00:00:00Z"


def test_a_private_package_has_an_index_of_its_own_also_where_it_only_comes_along():
    ruled = given(package_indexes={"acme-*": "https://a/simple"})
    before = made("acme-core>=1", "numpy")
    after, uv = uv_of(ruled, before, seen=Seen(("acme-parts",)))
    (index,) = [one for one in uv["index"] if one["url"] == "https://a/simple"]
    assert index["explicit"]
    assert set(uv["sources"]) == {"acme-core", "acme-parts"}
    assert after.groups[project.GROUP] == ["acme-parts"]
    lock = {
        "package": [
            {"name": "p", "source": {"virtual": "."}},
            {"name": "acme-core", "source": {}, "dependencies": [{"name": "acme-parts"}]},
            {"name": "acme-parts", "source": {}},
            {"name": "acme-stale", "source": {}},
        ]
    }
    assert project.along(ruled, lock, after) == ("acme-parts",)
    gone = project.kept(given(), after, None, Seen(), NOW)
    assert tomllib.loads(gone.text) == tomllib.loads(before.text)


def test_an_old_vulnerability_of_a_newer_version_is_known():
    row = {"subject": "leaky", "version": "2", "ids": ["GHSA-1", "CVE-1"], "known": False}
    (found,) = advisories.known_before([row], [{**row, "version": "1", "ids": ["CVE-1"]}])
    assert found["known"]
    (other,) = advisories.known_before([row], [{**row, "subject": "else"}])
    assert not other["known"]


def test_a_setting_of_two_columns_is_written_and_read(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(config.template(policy__package_indexes={"acme-*": "https://a/simple"}))
    assert config.load(file).table("policy.package_indexes") == {"acme-*": "https://a/simple"}
    file.write_text('[policy.package_indexes]\n"b-*" = "https://b/simple"\n')
    assert config.load(file).table("policy.package_indexes") == {"b-*": "https://b/simple"}
    file.write_text("[policy.package_indexes]\nb = 1\n")
    with pytest.raises(UsageError, match="a table of strings"):
        config.load(file)
