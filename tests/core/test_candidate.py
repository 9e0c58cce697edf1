"""Where a candidate may write, and which variables it gets: the parts that need no kernel."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from governance import sandbox
from governance.environments import variables
from governance.environments.candidate import Candidate

EVERYTHING = sandbox.Support(
    layer=True, layer_reason="", read_only_mounts=True, read_only_reason="", landlock=5,
    pid_namespace=True, pid_reason="", user_namespace=False,
)  # fmt: skip


class Settings:
    def texts(self, key):
        return ()

    def number(self, key):
        return 0

    def text(self, key):
        return "record"


@pytest.fixture
def candidate(tmp_path):
    comfyui = tmp_path / "ComfyUI"
    for name in ("custom_nodes/n", "models", "elsewhere"):
        (comfyui / name).mkdir(parents=True)

    def make(root, support=EVERYTHING):
        root.mkdir(parents=True, exist_ok=True)
        space = SimpleNamespace(
            root=root,
            comfyui_dir=comfyui,
            custom_nodes=comfyui / "custom_nodes",
            generations=root / ".generations",
            uv_cache=root / ".uv-cache",
            config=Settings(),
        )
        folder = root / ".venv-candidate/x"
        return Candidate(space, folder, "g", support, (comfyui / "custom_nodes/n",))

    return make


@pytest.fixture(autouse=True)
def _path_of_a_generation(monkeypatch):
    monkeypatch.setattr(
        "governance.environments.generations.path", lambda space, name: space.generations / name
    )


def over(view, path):
    """The layers over `path`, the innermost last."""
    found = [layer for layer in view.scratch if path.is_relative_to(layer.lower)]
    return sorted(found, key=lambda layer: len(str(layer.lower)))


@pytest.mark.parametrize("place", ["w", "ComfyUI/env"])
def test_all_but_the_workspace_takes_writes(candidate, tmp_path, place):
    root = tmp_path / place
    view = candidate(root).view
    for path in (tmp_path / "ComfyUI", tmp_path / "ComfyUI/custom_nodes/n", tmp_path.parent):
        (layer,) = over(view, path)
        assert root in layer.keep
        assert layer.upper.is_relative_to(root / ".venv-candidate/x")
    assert view.read_only == (root, tmp_path / "ComfyUI/custom_nodes/n")
    assert view.writable == (root / ".venv-candidate/x",)
    assert sandbox.View.from_json(view.to_json()) == view


def test_comfyui_within_the_workspace_has_a_layer_of_its_own(candidate, tmp_path):
    view = candidate(tmp_path).view
    assert over(view, tmp_path / "ComfyUI/models")[-1].lower == tmp_path / "ComfyUI"
    assert over(view, tmp_path / "state")[-1].lower != tmp_path / "state"


@pytest.mark.parametrize("name", ["state", ".generations/g", "snapshots", "bin", ".uv-cache", ""])
def test_a_link_to_what_is_govs_own_opens_nothing(candidate, tmp_path, name):
    root = tmp_path / "w"
    (root / name).mkdir(parents=True)
    (tmp_path / "ComfyUI/models/link").symlink_to(root / name)
    view = candidate(root).view
    assert not [layer for layer in view.scratch if layer.lower.is_relative_to(root)]


def test_without_mounts_to_seal_with_nothing_is_put_at_risk(candidate, tmp_path):
    assert candidate(tmp_path / "w", replace(EVERYTHING, read_only_mounts=False)).view.scratch == ()


# --- environment variables -----------------------------------------------------------------------

SECRETS = [
    "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "GITHUB_TOKEN", "GH_TOKEN", "HF_TOKEN", "CI_JOB_TOKEN",
    "HUGGING_FACE_HUB_TOKEN", "OPENAI_API_KEY", "OPENAI_ORG", "MY_PASSWORD", "MYSQL_PWD", "DB_PASS",
    "SESSION_ID", "AUTHORIZATION", "CIVITAI_KEY", "SSH_AUTH_SOCK", "DATABASE_URL", "SENTRY_DSN",
    "KUBECONFIG", "DOCKER_CONFIG", "NPM_CONFIG_USERCONFIG", "COMFYUI_API_KEY", "privateKey",
    "GOOGLE_APPLICATION_CREDENTIALS", "PGPASSFILE", "NETRC", "DBUS_SESSION_BUS_ADDRESS",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("value", ["s3cr3t", "/tmp/file", "1", "https://a.example"])
def test_what_is_named_like_a_secret_is_kept_back(name, value):
    assert name not in variables.sort({name: value}, ()).passed


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PATH", "/usr/bin:/bin"), ("LANG", "C.UTF-8"), ("LC_ALL", "C"), ("TZ", "Europe/Berlin"),
        ("CUDA_VISIBLE_DEVICES", "0,1"), ("HSA_OVERRIDE_GFX_VERSION", "10.3.0"),
        ("HF_HOME", "/tmp"), ("GIT_AUTHOR", None),
        ("HF_ENDPOINT", "https://mirror.example"), ("PYTORCH_CUDA_ALLOC_CONF", "max_split:512"),
        ("TOKENIZERS_PARALLELISM", "false"), ("https_proxy", "http://user:word@proxy:3128"),
        ("SSL_CERT_FILE", "/etc/ssl/cert.pem"), ("PIP_CERT", "/etc/x.pem"),
        ("SOMEBODYS_MODELS", "/tmp/models"), ("SOMEBODYS_SWITCH", "true"), ("SOMEBODYS_SIZE", "12"),
    ],
)  # fmt: skip
def test_what_says_how_the_machine_computes_is_passed(name, value):
    if value is None:
        assert not variables.sort({name: "x"}, ()).passed  # git's variables are never passed
        return
    assert variables.sort({name: value}, ()).passed == {name: value}


@pytest.mark.parametrize(
    "value", ["postgres://user:word@host/x", "https://t0ken@host/simple", "abc123def456ghi789"]
)
def test_what_may_be_a_secret_by_its_value_is_kept_back_and_named(value):
    found = variables.sort({"SOMETHING": value}, ())
    assert (found.passed, found.left_out) == ({}, ("SOMETHING",))


def test_the_config_passes_what_a_node_needs():
    given = {"HF_TOKEN": "t", "MINE_A": "a b", "MINE_KEY": "k", "PYTHONPATH": "/x"}
    found = variables.sort(given, ["HF_TOKEN", "MINE_*", "PYTHONPATH"])
    assert found.passed == {"HF_TOKEN": "t", "MINE_A": "a b", "MINE_KEY": "k"}


def test_what_nobody_misses_is_not_told():
    given = {
        "SHLVL": "x y",
        "LS_COLORS": "di=1",
        "PS1": "$ ",
        "UV_INDEX": "x",
        "SSH_AUTH_SOCK": "x",
    }
    assert variables.sort(given, ()).left_out == ()


def test_a_cache_that_takes_writes_is_shown_and_any_other_is_replaced(
    candidate, tmp_path, monkeypatch
):
    """What was downloaded for prod need not be downloaded again."""
    own, home = tmp_path / "w", tmp_path / "home"
    for folder in (own / "snapshots/hub", tmp_path / "hf", home / ".cache/torch"):
        folder.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_CACHE_HOME", "TORCH_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("U2NET_HOME", str(own / "snapshots/hub"))
    given = candidate(own).environ()
    assert given["HF_HOME"] == str(tmp_path / "hf")
    assert given["TORCH_HOME"] == str(home / ".cache/torch")
    assert given["U2NET_HOME"] == str(own / ".venv-candidate/x/cache/u2net_home")
    assert given["XDG_CACHE_HOME"] == str(own / ".venv-candidate/x/cache")
    copied = candidate(own, replace(EVERYTHING, layer=False)).environ()
    assert copied["HF_HOME"] == str(own / ".venv-candidate/x/cache/hf_home")
    assert "TORCH_HOME" not in copied


def test_a_cache_of_the_operators_own_stays_his(candidate, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert candidate(tmp_path / "w").environ()["XDG_CACHE_HOME"] == str(tmp_path / "caches")
