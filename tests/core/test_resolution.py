"""The declared truth as text."""

import tomllib

from governance.truth.resolution import Index, Project, Settings, new_project

TORCH = Index("https://download.pytorch.org/whl/cu130", name="torch", default=False, explicit=True)


def uv_table(project):
    return tomllib.loads(project.text)["tool"]["uv"]


def test_other_settings_leave_what_they_do_not_speak_of():
    """`gov init --torch-backend` once more: what a resolution freed from the date, and what a
    maintainer wrote by hand, stay."""
    settings = Settings("3.11", "3.11.7", date="2025-10-13T04:28:01Z")
    made = new_project(settings, ["numpy"]).replace(
        "package = false", 'package = false\nconstraint-dependencies = ["numpy<3"]'
    )
    made += '\n[[tool.uv.index]]\nname = "mine"\nurl = "https://example.invalid/simple"\n'
    made += 'explicit = true\n\n[tool.uv.sources]\nmy-package = { index = "mine" }\n'
    before = Project(made).with_overrides(["humanize==4.9.0"]).with_exempt(["humanize"])
    torch = Settings(
        "3.11", "3.11.7", date=settings.date, indexes=[TORCH], sources={"torch": "torch"}
    )
    table = uv_table(before.with_settings(torch))
    assert table["override-dependencies"] == ["humanize==4.9.0"]
    assert table["constraint-dependencies"] == ["numpy<3"]
    assert table["exclude-newer-package"]["humanize"] is False
    assert table["sources"] == {"my-package": {"index": "mine"}, "torch": {"index": "torch"}}
    assert [index["name"] for index in table["index"]] == ["torch", "mine"]


def test_another_backend_takes_the_place_of_the_first():
    first = Settings("3.11", "3.11.7", indexes=[TORCH], sources={"torch": "torch"})
    other = Index(TORCH.url.replace("cu130", "cpu"), name="torch", default=False, explicit=True)
    second = Settings("3.11", "3.11.7", indexes=[other], sources={"torch": "torch"})
    table = uv_table(Project(new_project(first, [])).with_settings(second))
    assert [index["url"] for index in table["index"]] == [other.url]


def test_without_a_date_nothing_is_exempt_from_it():
    dated = Settings("3.11", "3.11.7", date="2025-10-13T04:28:01Z")
    project = Project(new_project(dated, [])).with_exempt(["humanize"])
    table = uv_table(project.with_settings(Settings("3.11", "3.11.7")))
    assert {"exclude-newer", "exclude-newer-package"}.isdisjoint(table)
