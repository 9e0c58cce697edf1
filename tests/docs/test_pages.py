"""The documents are there, hang together, and name nothing that does not exist."""

import re

import pytest

from . import pages

NAMES = [
    "01_project_objectives.md",
    "02_architecture_and_mechanisms.md",
    "03_runtime_and_operations.md",
    "04_cli_reference.md",
    "05_data_contracts.md",
    "06_development_workflow.md",
    "07_test_strategy_and_acceptance.md",
    "08_troubleshooting_and_limits.md",
    "09_release_checklist.md",
    "10_quick_start_for_llm.md",
    "comfy_env_dev_test_guide.md",
]
# Folders of the checkout, as against those of a workspace.
OURS = re.compile(r"^(governance|tasks|tests|docs|bin|benchmarks|\.ci)/[\w./-]*$")
# A place of the machine it was written on, or a registry's host.
FOREIGN = re.compile(
    r"(?<!state)/work/|/root/|/home/\w|/tmp/|127\.0\.0\.1:\d"
    r"|py[p]i\.org|pythonhosted|download\.pytorch"
)

every_page = pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.name)


def test_the_documents_of_the_plan_are_there():
    assert [page.name for page in pages.PAGES] == ["README.md", "README.zh-CN.md", *NAMES]


@pytest.mark.parametrize("readme", ["README.md", "README.zh-CN.md", "docs/" + NAMES[-1]])
def test_every_document_can_be_reached(readme):
    page = pages.CHECKOUT / readme
    reached = {link.partition("#")[0].rpartition("/")[2] for link in pages.links(page)}
    assert {name for name in NAMES if name != page.name} <= reached


@every_page
def test_links_lead_somewhere(page):
    wrong = []
    for link in pages.links(page):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file) if file else page
        if not target.is_file() or (anchor and anchor not in pages.anchors(target)):
            wrong.append(link)
    assert wrong == []


@every_page
def test_files_that_are_named_exist(page):
    named = [text for text in pages.inline(page) if OURS.match(text)]
    assert [name for name in named if not (pages.CHECKOUT / name).exists()] == []


@every_page
def test_no_machine_and_no_registry_is_named(page):
    assert FOREIGN.findall(page.read_text()) == []


@every_page
def test_generated_parts_are_closed(page):
    text = page.read_text()
    opened = re.findall(r"^<!-- generated: .+ -->$", text, re.MULTILINE)
    assert len(opened) == len(re.findall(r"^<!-- end -->$", text, re.MULTILINE))


def test_there_is_something_to_look_at():
    named = [text for page in pages.PAGES for text in pages.inline(page) if OURS.match(text)]
    assert len(set(named)) > 60
    assert len([link for page in pages.PAGES for link in pages.links(page)]) > 60


def test_figures_have_their_places():
    text = (pages.DOCS / "07_test_strategy_and_acceptance.md").read_text()
    for name in ("faults", "benchmarks", "real-comfyui", "conflicts"):
        assert f"<!-- figures:{name} -->" in text
