"""The gates of a supply chain: each refuses, asks and lets pass as policy says; `gov audit`."""

import functools
import json
import shutil
import threading
import tomllib
from datetime import UTC, datetime, timedelta
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from support import osv
from support.refusal import assert_refused, assert_told
from support.rewound import Rewound
from support.worlds import Site, write_config

from governance.sample import index as sample_index
from governance.sample.wheels import Wheel, about_path, build_all

YESTERDAY = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


class Shop:
    """A workspace on a real index, with a private one and a service of vulnerabilities beside."""

    def __init__(self, folder, world, public, private, service):
        self.folder, self.world = folder, world
        self.public, self.private, self.service = public, private, service
        live = folder / "live"
        comfyui = shutil.copytree(world.comfyui, live / "ComfyUI", symlinks=True)
        (live / "comfy_env").mkdir()
        self.site = Site(live / "comfy_env", comfyui, world)
        self.policy()
        words = ("--index", public.url, "--resolution-date", "none")
        self.site.gov("init", self.site.root, *words).ok()
        self._rewound = Rewound(live, folder / "kept")

    def rewind(self):
        """As after init."""
        self._rewound.rewind()
        self.service.known.clear()
        self.service.status = 200

    def policy(self, **settings):
        given = {f"policy__{name}": value for name, value in settings.items()}
        given.setdefault("policy__vulnerability_service", self.service.url)
        write_config(self.site.root, self.site.comfyui, self.world, **given)

    def node(self, name, *lines):
        """A node that declares these lines, added."""
        if not (self.world.repos / name).exists():
            self.world.add(name, {"requirements.txt": "".join(f"{line}\n" for line in lines)})
        self.site.add(name)
        return name

    def run(self, name, *lines):
        return self.site.gov.json("tx", "run", self.node(name, *lines))

    def audit(self, *words):
        return self.site.gov.json("audit", *words)


@pytest.fixture(scope="module")
def opened(tmp_path_factory, world):
    folder = tmp_path_factory.mktemp("shop")
    wheels = shutil.copytree(world.wheels, folder / "wheels")
    build_all(
        [
            Wheel("fresh", "1.0"),
            Wheel("fresh", "2.0", uploaded=YESTERDAY),
            Wheel("plain", "1.0"),
            Wheel("plain", "1.1"),
            Wheel("leaky", "1.0"),
            Wheel("leaky", "1.1"),
            Wheel("regretted", "1.0"),
            Wheel("vanished", "1.0"),
            Wheel("only-source", "1.0", sdist=True),
            Wheel("acme-core", "99.0"),
            Wheel("acme-parts", "99.0"),
        ],
        wheels,
    )
    private = folder / "private"
    build_all(
        [
            Wheel("acme-core", "1.0", requires=("acme-parts", "plain")),
            Wheel("acme-parts", "1.0"),
            Wheel("plain", "50.0"),
        ],
        private,
    )
    with (
        sample_index.serve(wheels) as public,
        sample_index.serve(private) as own,
        osv.serve() as service,
    ):
        yield Shop(folder, world, public, own, service)


@pytest.fixture
def shop(opened, monkeypatch):
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    opened.rewind()
    return opened


def uv_table(site):
    return tomllib.loads((site.root / "pyproject.toml").read_text())["tool"]["uv"]


def locked(site):
    lock = tomllib.loads((site.root / "uv.lock").read_text())
    return {row["name"]: row for row in lock["package"]}


def generations(site):
    return sorted(path.name for path in (site.root / ".generations").iterdir())


# --- lists ------------------------------------------------------------------------------------


def test_a_blocked_package_is_refused_before_anything_is_built(shop):
    shop.policy(blocked_packages=["plain<2"])
    before, files = generations(shop.site), shop.public.count("GET /files/plain")
    ended = shop.run("wants-plain", "plain")
    assert (ended.code, ended.error["code"]) == (3, "blocked_package")
    assert "plain 1.1 is blocked by 'plain<2'" in ended.error["message"]
    assert '`lists = "ask"` in [policy]' in ended.error["hint"]
    assert generations(shop.site) == before
    fetched = [r for r in shop.public.requests if r.startswith("GET /files/plain-")]
    assert [r for r in fetched[files:] if not r.endswith(".metadata")] == []


@pytest.mark.thorough
def test_what_policy_asks_about_passes_with_a_word_and_is_known_then(shop):
    shop.policy(blocked_packages=["plain"], lists="ask")
    ran = shop.run("wants-plain", "plain")
    assert ran.code == 0, ran
    txid = ran.data["txid"]
    told = shop.site.gov("tx", "inspect", txid).ok().out
    assert "blocked package" in told
    assert "plain 1.1 is blocked by 'plain'" in told
    assert "--accept-findings" in shop.site.gov("tx", "run", "wants-plain").ok().out
    foreseen = shop.site.gov("tx", "promote", txid, "--dry-run").ok().out
    assert "plain 1.1 is blocked by 'plain'" in foreseen
    ended = assert_refused(shop.site, "tx", "promote", txid, code=3, named="blocked_package")
    assert ended.error["facts"]["supply"][0]["subject"] == "plain"
    shop.site.gov("tx", "promote", txid, "--accept-findings").ok()
    record = shop.site.gov.json("tx", "inspect", txid).data["promotion"]
    assert [r["subject"] for r in record["accepted_supply_chain"]] == ["plain"]
    # Prod has it now: `gov audit` tells, and the next change is not asked for it again.
    found = shop.audit()
    assert (found.code, found.error["code"]) == (1, "audit_findings")
    shop.policy(blocked_packages=["plain"])
    assert shop.run("wants-nothing").code == 0


def test_a_change_of_one_command_is_asked_before_it_builds(shop):
    lines = shop.site.comfyui / "requirements.txt"
    kept = lines.read_text()
    shop.policy(blocked_packages=["plain"], lists="ask")
    before = generations(shop.site)
    lines.write_text(f"{kept}plain\n")
    try:
        ended = shop.site.gov.json("init", shop.site.root)
    finally:
        lines.write_text(kept)
    assert (ended.code, ended.error["code"]) == (3, "blocked_package"), ended
    assert generations(shop.site) == before


def test_only_allowed_packages_come_in(shop):
    names = [*locked(shop.site), "fresh"]
    shop.policy(allowed_packages=names)
    assert shop.run("wants-plain", "plain").error["code"] == "blocked_package"
    assert shop.run("wants-fresh", "fresh").code == 0


@pytest.mark.parametrize(
    ("lists", "code"),
    [
        ({"blocked_nodes": ["wants-*"]}, "blocked_node"),
        ({"allowed_nodes": ["other"]}, "blocked_node"),
        ({"blocked_authors": ["local"]}, "blocked_author"),
        ({"allowed_authors": ["github.com/me"]}, "blocked_author"),
    ],
)
def test_a_blocked_node_is_refused_before_it_is_cloned(shop, lists, code):
    repository = shop.world.add("wants-none", {"requirements.txt": ""})
    shop.policy(**lists)
    assert_refused(shop.site, "node", "add", repository, code=3, named=code)
    shop.policy()
    shop.site.gov("node", "add", repository).ok()
    shop.policy(**lists)
    assert_refused(shop.site, "tx", "run", "wants-none", code=3, named=code)


@pytest.mark.thorough
def test_a_node_that_is_blocked_later_is_not_updated_and_no_reason_to_stop_others(shop):
    txid = shop.run("wants-one", "plain").data["txid"]
    shop.site.gov("tx", "promote", txid).ok()
    shop.policy(blocked_nodes=["wants-one"])
    assert_refused(shop.site, "node", "update", "wants-one", code=3, named="blocked_node")
    assert shop.run("wants-two", "plain").code == 0
    assert [r["kind"] for r in shop.audit().data["findings"]] == ["blocked_node"]


def test_the_way_back_meets_the_same_gates(shop):
    txid = shop.run("wants-plain", "plain").data["txid"]
    shop.site.gov("tx", "promote", txid).ok()
    shop.site.gov("node", "remove", "wants-plain", "--purge-code").ok()
    shop.policy(blocked_packages=["plain"])
    assert_refused(shop.site, "undo", code=3, named="blocked_package")
    shop.policy(blocked_nodes=["wants-plain"], lists="ask")
    assert_refused(shop.site, "undo", code=3, named="blocked_node")
    shop.site.gov("undo", "--accept-findings").ok()


# --- age --------------------------------------------------------------------------------------


def test_a_young_release_is_not_taken_unless_it_is_exempt(shop):
    shop.policy(minimum_release_age="3 days")
    txid = shop.run("wants-fresh", "fresh").data["txid"]
    shop.site.gov("tx", "promote", txid).ok()
    assert locked(shop.site)["fresh"]["version"] == "1.0"
    assert uv_table(shop.site)["exclude-newer"] == "3 days"
    shop.policy(minimum_release_age="3 days", release_age_exempt=["fre*"])
    assert shop.site.gov.json("upgrade", "fresh", "--promote").ok().data
    assert locked(shop.site)["fresh"]["version"] == "2.0"
    # Without the exemption it stays, since prod has it; `gov audit` tells of it.
    shop.policy(minimum_release_age="3 days")
    txid = shop.run("wants-one", "plain").data["txid"]
    shop.site.gov("tx", "promote", txid).ok()
    assert locked(shop.site)["fresh"]["version"] == "2.0"
    assert [r["kind"] for r in shop.audit().data["findings"]] == ["young_release"]
    # Without the setting the project is as it was.
    shop.policy()
    shop.site.gov("node", "disable", "wants-one").ok()
    assert "exclude-newer" not in uv_table(shop.site)


def test_a_person_who_frees_a_package_from_its_age_meets_the_gate(shop):
    shop.policy(minimum_release_age="3 days")
    ended = shop.run("wants-newest", "fresh>=2")
    assert ended.code == 4
    txid = ended.data["txid"]
    told = shop.site.gov("resolve", txid, "--suggest").out
    assert "fix" in told
    refused = shop.site.gov.json("resolve", txid, "--accept", "1")
    assert (refused.code, refused.error["code"]) == (3, "young_release"), (refused, told)
    shop.policy(minimum_release_age="3 days", release_age="ask")
    assert shop.site.gov("resolve", txid, "--accept", "1").code == 0
    ended = shop.site.gov.json("tx", "promote", txid)
    assert (ended.code, ended.error["code"]) == (3, "young_release")


@pytest.mark.thorough
def test_an_index_without_upload_times_is_named(shop, tmp_path, world):
    with plain_pages(world.wheels, tmp_path / "pages") as url:
        root = tmp_path / "comfy_env"
        root.mkdir()
        comfyui = shutil.copytree(world.comfyui, tmp_path / "ComfyUI", symlinks=True)
        site = Site(root, comfyui, world)
        policy = {"policy__minimum_release_age": "1 week"}
        write_config(root, comfyui, world, **policy)
        words = ("init", root, "--index", url, "--resolution-date", "none")
        ended = assert_told(site.gov(*words), 3, f"{url} tells no upload times")
        assert "1 week old" in ended.err
        write_config(root, comfyui, world, **policy, policy__release_age="ask")
        assert_told(site.gov(*words), 3, "is not known")
        site.gov(*words, "--accept-findings").ok()


def plain_pages(wheels, folder):
    """An index as a web server makes of a folder: names of files and no more."""
    for wheel in wheels.glob("*.whl"):
        name = wheel.name.split("-")[0].replace("_", "-").lower()
        (folder / name).mkdir(parents=True, exist_ok=True)
        shutil.copy(wheel, folder / name)
    handler = functools.partial(Quiet, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    return Served(server)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class Served:
    def __init__(self, server):
        self.server = server

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_address[1]}/"

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


# --- indexes ----------------------------------------------------------------------------------


def test_a_private_name_is_never_asked_of_the_public_index(shop):
    asked = shop.public.count("acme")
    shop.policy(package_indexes={"acme-*": shop.private.url})
    txid = shop.run("wants-acme", "acme-core").data["txid"]
    shop.site.gov("tx", "promote", txid).ok()
    assert shop.public.count("acme") == asked
    found = locked(shop.site)
    for name in ("acme-core", "acme-parts"):
        assert found[name]["version"] == "1.0"
        assert found[name]["source"] == {"registry": shop.private.url}
    # What is not private comes from where it did.
    assert found["plain"]["version"] == "1.1"
    # What nobody asks for any more goes, with what gov wrote for it.
    shop.site.gov("node", "remove", "wants-acme", "--purge-code").ok()
    assert "acme-parts" not in locked(shop.site)
    assert "sources" not in uv_table(shop.site)


def test_a_lock_that_brings_it_from_elsewhere_is_refused(shop):
    txid = shop.run("wants-acme", "acme-core").data["txid"]
    shop.policy(package_indexes={"acme-*": shop.private.url}, other_indexes="off")
    shop.site.gov("tx", "promote", txid).ok()
    assert locked(shop.site)["acme-core"]["version"] == "99.0"
    shop.policy(package_indexes={"acme-*": shop.private.url})
    (found,) = shop.audit().data["findings"]
    assert (found["kind"], found["subject"]) == ("wrong_index", "acme-core")
    assert found["wanted"] == shop.private.url


# --- vulnerabilities --------------------------------------------------------------------------


def test_a_new_vulnerability_is_refused_and_an_old_one_is_no_reason(shop):
    txid = shop.run("wants-leaky", "leaky==1.0").data["txid"]
    shop.site.gov("tx", "promote", txid).ok()
    shop.policy(vulnerabilities="refuse")
    shop.service.known = {("leaky", "1.0"): ["GHSA-1"], ("leaky", "1.1"): ["GHSA-1"]}
    shop.service.known["plain", "1.1"] = ["GHSA-2"]
    ended = shop.run("wants-plain", "plain")
    assert (ended.code, ended.error["code"]) == (3, "vulnerable")
    assert ended.error["message"].startswith(
        "plain 1.1 is vulnerable: GHSA-2 (reads what it should not), fixed in 99.0"
    )
    shop.policy(vulnerabilities="refuse", accepted_vulnerabilities=["GHSA-2"])
    ran = shop.site.gov.json("tx", "run", "wants-plain")
    assert ran.code == 0, ran
    rows = ran.data["supply"]["rows"]
    assert [(r["subject"], r["known"]) for r in rows] == [("leaky", True)]


@pytest.mark.family(1)
@pytest.mark.parametrize("fault", ["failing", "unreachable"])
def test_a_service_that_does_not_answer_is_never_none(shop, fault):
    shop.policy(vulnerabilities="refuse")
    shop.service.status = 500
    if fault == "unreachable":
        shop.policy(vulnerabilities="refuse", vulnerability_service="http://127.0.0.1:9/")
    ended = shop.run("wants-plain", "plain")
    assert (ended.code, ended.error["code"]) == (3, "vulnerabilities_unknown")
    assert "could not be looked up at http://127.0.0.1:" in ended.error["message"]
    found = shop.audit()
    assert (found.code, found.error["code"]) == (1, "audit_incomplete")
    assert len(found.data["unanswered"]) == 1
    shop.policy(vulnerabilities="ask", vulnerability_service="http://127.0.0.1:9/")
    assert shop.site.gov("tx", "run", "wants-plain").ok().out.count("vulnerabilities unknown") == 1


# --- yanked and built -------------------------------------------------------------------------


def about(shop, name, **facts):
    (path,) = shop.public.folder.glob(f"{name}-*.whl")
    told = json.loads(about_path(path).read_text())
    about_path(path).write_text(json.dumps({**told, **facts}))


@pytest.mark.thorough
def test_a_release_that_was_yanked_since(shop):
    txid = shop.run("wants-regretted", "regretted", "vanished").data["txid"]
    shop.site.gov("tx", "promote", txid).ok()
    assert shop.audit().code == 0
    about(shop, "regretted", yanked='it says "no"')
    (gone,) = shop.public.folder.glob("vanished-*.whl")
    kept = gone.read_bytes()
    gone.unlink()
    try:
        found = shop.audit().data["findings"]
    finally:
        gone.write_bytes(kept)
    assert sorted((r["kind"], r["subject"]) for r in found) == [
        ("yanked", "regretted"),
        ("yanked", "vanished"),
    ]
    assert any('(it says "no")' in r["sentence"] for r in found)
    shop.site.gov("node", "remove", "wants-regretted", "--purge-code").ok()
    shop.policy(yanked="refuse")
    ended = shop.run("wants-it-still", "regretted==1.0")
    assert (ended.code, ended.error["code"]) == (3, "yanked")


def test_what_has_to_be_built_is_shown_and_refused(shop):
    told = shop.run("wants-source", "only-source")
    assert told.code == 0
    txid = told.data["txid"]
    assert "only-source 1.0 has no wheel" in shop.site.gov("tx", "inspect", txid).out
    shop.policy(allow_source_builds=False)
    ended = shop.site.gov.json("tx", "promote", txid)
    assert (ended.code, ended.error["code"]) == (3, "source_build")
    assert "`allow_source_builds = true`" in ended.error["hint"]


# --- gov audit --------------------------------------------------------------------------------


@pytest.mark.thorough
def test_audit_tells_a_person_a_script_and_a_code_host(shop, tmp_path):
    txid = shop.run("wants-leaky", "leaky==1.0").data["txid"]
    shop.site.gov("tx", "promote", txid).ok()
    clean = shop.audit()
    assert (clean.code, clean.data["findings"], clean.data["unanswered"]) == (0, [], [])
    assert "leaky" in shop.service.asked
    shop.service.known = {("leaky", "1.0"): ["GHSA-1"]}
    file = tmp_path / "prod.sarif"
    told = assert_told(shop.site.gov("audit", "--sarif", file), 1, "leaky 1.0 is vulnerable")
    assert f"written: {file}" in told.out
    (run,) = json.loads(file.read_text())["runs"]
    (result,) = run["results"]
    assert (result["ruleId"], result["level"]) == ("vulnerable", "error")
    place = result["locations"][0]["physicalLocation"]
    lines = (shop.site.root / "uv.lock").read_text().splitlines()
    assert place["artifactLocation"] == {"uri": "uv.lock"}
    assert lines[place["region"]["startLine"]] == 'name = "leaky"'
    shop.service.status = 500
    shop.audit("--sarif", file)
    (run,) = json.loads(file.read_text())["runs"]
    assert not run["invocations"][0]["executionSuccessful"]


def test_a_setting_that_cannot_be_read_is_named(shop):
    for settings in (
        {"minimum_release_age": "3 fortnights"},
        {"blocked_packages": ["requests=2"]},
        {"package_indexes": {"acme-*": "acme"}},
    ):
        shop.policy(**settings)
        (name,) = settings
        assert_told(shop.site.gov("audit"), 2, f"policy.{name}")
