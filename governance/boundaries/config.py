"""config.toml: every setting, its default and what it means.

The table below is the only list.  `template` writes the file with its comments; a test compares
the checkout's own config.toml with it.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from governance.base.errors import Damaged, UsageError
from governance.boundaries import store

Value = str | int | float | bool | list[str] | dict[str, str]


class Setting(NamedTuple):
    """`key` is dotted: `tx.timeout_seconds` stands in table [tx]."""

    key: str
    default: Value
    comment: str
    choices: tuple[str, ...] = ()
    may_be_zero: bool = False


CORE_PACKAGES = [
    "torch",
    "torchvision",
    "torchaudio",
    "torchsde",
    "numpy",
    "transformers",
    "tokenizers",
    "safetensors",
    "aiohttp",
    "pillow",
    "scipy",
    "comfyui-frontend-package",
]

# Where keys and tokens lie by default, of ssh, clouds, package registries, browsers, shells.
HIDDEN = [
    *("~/.ssh", "~/.gnupg", "~/.aws", "~/.azure", "~/.kube", "~/.docker", "~/.netrc", "~/.pgpass"),
    *("~/.config/gcloud", "~/.config/gh", "~/.config/git/credentials", "~/.git-credentials"),
    *("~/.config/rclone", "~/.config/op", "~/.config/containers", "~/.config/pip", "~/.pip"),
    *("~/.pypirc", "~/.npmrc", "~/.cargo/credentials.toml", "~/.local/share/uv/credentials"),
    *("~/.huggingface", "~/.cache/huggingface/token", "~/.cache/huggingface/stored_tokens"),
    *("~/.password-store", "~/.local/share/keyrings", "~/.local/share/kwalletd", "~/.pki"),
    *("~/.mozilla", "~/.config/google-chrome", "~/.config/chromium", "~/.config/BraveSoftware"),
    *("~/.bash_history", "~/.zsh_history", "~/.python_history", "~/.config/wandb"),
]

# What a gate of a supply chain does.
_MODES = ("off", "ask", "refuse")

SETTINGS = (
    Setting(
        "workspace",
        "comfy_env",
        "In the tool's checkout only: the workspace used when none is named (relative path).",
    ),
    Setting(
        "comfyui_dir",
        "",
        "The ComfyUI checkout that this workspace governs (absolute, or relative to this file).",
    ),
    Setting(
        "comfyui.args",
        [],
        'Arguments that every start of ComfyUI gets, for example ["--lowvram"].',
    ),
    Setting(
        "comfyui.cpu",
        "auto",
        "Observe with --cpu: auto means where this machine shows no GPU device.",
        ("auto", "always", "never"),
    ),
    Setting(
        "comfyui.manager",
        False,
        "Take ComfyUI's manager_requirements.txt in, so that `gov run -- --enable-manager` works.",
    ),
    Setting("tx.timeout_seconds", 300, "`tx run`: seconds from ComfyUI's start until it answers."),
    Setting(
        "tx.settle_seconds",
        3,
        "`tx run`: the most seconds watched after ComfyUI answers (some nodes install late); it is "
        "over after one in which nothing happens.",
    ),
    Setting(
        "tx.run_install_script",
        True,
        "`tx run`: run a node's install.py, as ComfyUI-Manager does.",
    ),
    Setting(
        "tx.node_folder_writable",
        True,
        "`tx run`: the node may write into its own folder (its install.py usually does); what it "
        "writes goes into a scratch layer.",
    ),
    Setting(
        "tx.smoke_test_cmd",
        "",
        "Replaces the smoke test of `tx promote`; {python} and {comfyui_dir} are filled in.",
    ),
    Setting(
        "tx.smoke_test",
        "auto",
        "When a promote starts ComfyUI: auto only where nothing has observed this set of packages "
        "and code, always at every promote.",
        ("auto", "always"),
    ),
    Setting("tx.log_limit_mb", 20, "A log of an observed run is cut beyond this size."),
    Setting(
        "run.writes",
        "all",
        "What ComfyUI and its nodes may write under `gov run`: all that their user may, but the "
        "workspace; or data alone: models, output, input, temp, user, caches and `run.writable`.",
        ("all", "data"),
    ),
    Setting(
        "run.writable",
        [],
        "Further folders and files, seen from ComfyUI's, for the choice data: where a node keeps "
        'settings in its own folder, ["custom_nodes/its-folder/settings.json"].',
    ),
    Setting(
        "sandbox.pass_environment",
        [],
        "Environment variables that observed programs get beside the harmless ones, by name or "
        'pattern, for example ["HF_TOKEN", "MYAPP_*"].',
    ),
    Setting(
        "sandbox.hidden",
        HIDDEN,
        "Folders and files that look empty to observed programs: keys, passwords, tokens.",
    ),
    Setting(
        "sandbox.network",
        "record",
        "The network of observed programs: record (open; every address is written down), open, "
        "index (only the package index and network_hosts), or none.",
        ("record", "open", "index", "none"),
    ),
    Setting(
        "sandbox.build_network",
        "index",
        "The network of package builds: index (as above), none, or open.",
        ("index", "none", "open"),
    ),
    Setting(
        "sandbox.network_hosts",
        [],
        'What the policy index lets through beside the index: ["huggingface.co:443"].',
    ),
    Setting(
        "sandbox.max_processes",
        4096,
        "An observed program that runs more processes than this at a time is ended; 0: no limit.",
        may_be_zero=True,
    ),
    Setting(
        "sandbox.max_memory_gb",
        0,
        "An observed program that takes more memory than this is ended; 0: when the machine "
        "has nearly none left.",
        may_be_zero=True,
    ),
    Setting(
        "sandbox.max_disk_gb",
        200,
        "An observed program that writes more than this is ended; 0: no limit.",
        may_be_zero=True,
    ),
    Setting(
        "policy.core_packages",
        CORE_PACKAGES,
        "A change of one of these needs --approve-core with --reason.",
    ),
    Setting(
        "policy.git_protocols",
        ["https", "ssh", "file"],
        "Where `node add` may clone from; file stands for local paths too.",
    ),
    Setting(
        "policy.skipped_requirements",
        "ask",
        "Requirement lines that gov does not take: ask (promote needs --accept-skipped), "
        "allow, or refuse (tx run stops).",
        ("ask", "allow", "refuse"),
    ),
    Setting(
        "policy.incompatible",
        "ask",
        "A package that would not get what it requires, since an override keeps it from it: ask "
        "(promote needs --accept-incompatible), allow, or refuse (no promotion).",
        ("ask", "allow", "refuse"),
    ),
    Setting(
        "policy.start_actions",
        "ask",
        "A node that does at its start what no node should (calls apt or sudo, changes other "
        "nodes, leaves a program running; docs/08 has the list): ask (promote needs "
        "--accept-findings), allow, or refuse (no promotion).",
        ("ask", "allow", "refuse"),
    ),
    Setting(
        "policy.partial",
        "allow",
        "A node that loads in part, so that some of its classes are missing: allow (it is told), "
        "ask (promote needs --accept-findings), or refuse (no promotion).",
        ("allow", "ask", "refuse"),
    ),
    Setting(
        "policy.allow_git_requirements",
        False,
        "Take requirement lines that name a git repository (`name @ git+https://...`).",
    ),
    Setting(
        "policy.allow_url_requirements",
        False,
        "Take requirement lines that name a wheel by URL (`name @ https://....whl`).",
    ),
    Setting(
        "policy.allow_source_builds",
        True,
        "Let uv build packages that have no wheel; their set-up code runs on this machine.",
    ),
    Setting(
        "policy.minimum_release_age",
        "",
        'Take no release of a package that is younger: "3 days", "1 week". What ComfyUI pins and '
        "what prod has already is taken all the same.",
    ),
    Setting("policy.release_age_exempt", [], 'Packages of any age, for example ["acme-*"].'),
    Setting(
        "policy.release_age",
        "refuse",
        "A younger release that a lock holds all the same, or one whose index tells no upload "
        "time: off, ask (promote needs --accept-findings), or refuse.",
        _MODES,
    ),
    Setting(
        "policy.blocked_packages",
        [],
        'Packages that no change brings in, for example ["evil", "acme-*", "requests<2.32"].',
    ),
    Setting("policy.allowed_packages", [], "If there are any: no other packages come in."),
    Setting("policy.blocked_nodes", [], "Nodes that no change brings in, by id or pattern."),
    Setting("policy.allowed_nodes", [], "If there are any: no other nodes come in."),
    Setting(
        "policy.blocked_authors",
        [],
        "Authors whose nodes do not come in: host and owner of the repository, the publisher at "
        'the Comfy Registry, or local, for example ["github.com/evil", "registry/evil"].',
    ),
    Setting("policy.allowed_authors", [], 'If there are any: no others, as ["github.com/me"].'),
    Setting(
        "policy.lists",
        "refuse",
        "What these lists do not let in: off, ask (promote needs --accept-findings), or refuse "
        "(nothing of it is fetched or built).",
        _MODES,
    ),
    Setting(
        "policy.package_indexes",
        {},
        "The only index that a package may come from, by name or pattern, for example "
        '{"acme-*" = "https://packages.example.com/simple"}.',
    ),
    Setting(
        "policy.other_indexes",
        "refuse",
        "A package that comes from another index than that: off, ask (promote needs "
        "--accept-findings), or refuse.",
        _MODES,
    ),
    Setting(
        "policy.vulnerabilities",
        "off",
        "Known vulnerabilities that a change brings in: off (not asked for; `gov audit` does), "
        "ask (promote needs --accept-findings), or refuse. Also where nobody answers.",
        _MODES,
    ),
    Setting(
        "policy.vulnerability_service",
        "",
        "Who is asked: an address that answers as https://api.osv.dev does, which is the default.",
    ),
    Setting(
        "policy.accepted_vulnerabilities",
        [],
        'Ids of vulnerabilities that are accepted, for example ["GHSA-9hjg-9r4m-mvj7"].',
    ),
    Setting(
        "policy.yanked",
        "off",
        "Releases that their index has withdrawn: off (not asked for; `gov audit` does), ask "
        "(promote needs --accept-findings), or refuse. Also where nobody answers.",
        _MODES,
    ),
    Setting(
        "policy.require_signature",
        "off",
        "Changes need a signature in the audit log by the operator's own ssh key: off, or refuse "
        "(no change without one).",
        ("off", "refuse"),
    ),
    Setting(
        "policy.allowed_signers",
        "",
        "Who may sign: a file in ssh's form (absolute, or relative to this file). `gov log verify` "
        "checks signatures with it.",
    ),
    Setting(
        "policy.node_hashes",
        "check",
        "A --hash in a node's requirement line: check that the index has such a file, or ignore.",
        ("check", "ignore"),
    ),
    Setting(
        "policy.missing_hashes",
        "allow",
        "Packages of which the index tells no hash: allow (they are named), or refuse.",
        ("allow", "refuse"),
    ),
    Setting("policy.clone_timeout_seconds", 600, "`node add`: the longest a clone may take."),
    Setting("policy.clone_limit_mb", 4096, "`node add`: the largest repository taken."),
    Setting(
        "registry.url",
        "https://api.comfy.org",
        "The Comfy Registry: `node search`, `node info`, and `node add` of an id, ask it.",
    ),
    Setting("registry.timeout_seconds", 20, "Seconds that the registry may take to answer."),
    Setting(
        "registry.catalogue",
        "",
        "ComfyUI-Manager's folder with custom-node-list.json, or that file: asked where the "
        "registry does not answer or does not know a node (absolute, or relative to this file).",
    ),
    Setting(
        "resolution.recent_days",
        30,
        "`init`: a ComfyUI commit older than this is resolved as of its own date, since today's "
        "packages may not run it any more.",
    ),
    Setting(
        "resolution.explain_seconds",
        120,
        "The longest time spent on explaining a conflict and trying fixes.",
    ),
    Setting(
        "resolution.explain_all_seconds",
        600,
        "`resolve --suggest --all`: the longest time spent on finding every line that conflicts.",
    ),
    Setting(
        "resolution.lock_timeout_seconds",
        1800,
        "The longest time that one lock may take, packages built for it included.",
    ),
    Setting(
        "resolution.stall_seconds",
        120,
        "A lock or a download in which nothing gets done for so long is ended.",
    ),
    Setting(
        "storage.link_mode",
        "auto",
        "How packages get into an environment: auto (reflink where possible, else hardlink), "
        "clone, hardlink or copy. Use copy if you start prod by hand as root.",
        ("auto", "clone", "hardlink", "copy"),
    ),
    Setting(
        "storage.uv_cache_dir",
        ".uv-cache",
        "uv's cache, of this workspace alone, on the same filesystem (relative to this file).",
    ),
    Setting("storage.snapshots_keep", 50, "Snapshots kept; older ones go when a new one is made."),
    Setting("storage.generations_keep", 5, "`gov clean`: environments kept beside those in use."),
    Setting(
        "storage.kept_days",
        30,
        "`gov clean`: files of yours in the folder of a purged node are kept so many days.",
    ),
    Setting("storage.logs_keep", 100, "`gov clean`: logs of so many transactions are kept."),
)

BY_KEY = {setting.key: setting for setting in SETTINGS}


class Config(NamedTuple):
    """Settings with defaults filled in; `config["tx.timeout_seconds"]`."""

    path: Path
    values: dict[str, Value]

    def text(self, key: str) -> str:
        return str(self.values[key])

    def number(self, key: str) -> float:
        value = self.values[key]
        return float(value) if isinstance(value, int | float) else 0.0

    def flag(self, key: str) -> bool:
        return bool(self.values[key])

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.values[key]
        return tuple(value) if isinstance(value, list) else ()

    def table(self, key: str) -> dict[str, str]:
        value = self.values[key]
        return dict(value) if isinstance(value, dict) else {}


def defaults() -> Config:
    """Of no file."""
    return Config(Path(), {setting.key: setting.default for setting in SETTINGS})


def load(path: Path) -> Config:
    """Read config.toml; a missing file means the defaults.  Raises UsageError."""
    values = defaults().values
    try:
        document = tomllib.loads(store.read_bytes(path).decode())
    except FileNotFoundError:
        return Config(path, values)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{path} is not valid TOML: {error}",
            hint="mend the line; docs/03 lists every setting",
            code="bad_config",
            facts={"path": str(path)},
        ) from None
    except Damaged as error:
        raise UsageError(
            f"cannot read {path}: {error.facts['why']}", hint="check the file", code="bad_config"
        ) from None
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}", hint="check the file", code="bad_config"
        ) from None
    for key, value in _flat(document):
        values[key] = _checked(path, key, value)
    return Config(path, values)


def template(**given: Value) -> str:
    """The text of a config.toml with every setting; `given` (key with __ for the dot) differs."""
    chosen = {key.replace("__", "."): value for key, value in given.items()}
    lines = ["# Settings of gov. Every key, its default and its meaning; docs/03 says more."]
    table = ""
    for setting in SETTINGS:
        head, _, name = setting.key.rpartition(".")
        if head != table:
            lines += ["", f"[{head}]"]
            table = head
        value = chosen.get(setting.key, setting.default)
        lines += [f"# {setting.comment}", f"{name} = {_toml(value)}"]
    return "\n".join(lines) + "\n"


def _flat(document: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for key, value in document.items():
        known = BY_KEY.get(prefix + key)
        if isinstance(value, dict) and not (known and isinstance(known.default, dict)):
            pairs += _flat(value, f"{prefix}{key}.")
        else:
            pairs.append((prefix + key, value))
    return pairs


def _checked(path: Path, key: str, value: Any) -> Value:
    setting = BY_KEY.get(key)
    if setting is None:
        import difflib

        near = difflib.get_close_matches(key, BY_KEY, n=1)
        raise UsageError(
            f"{path}: unknown setting {key!r}",
            hint=f"did you mean {near[0]!r}?" if near else "docs/03 lists every setting",
            code="bad_config",
            facts={"key": key},
        )
    if not _fits(setting, value):
        raise UsageError(
            f"{path}: {key} = {value!r} is not {_wanted(setting)}",
            hint=f"the default is {_toml(setting.default)}",
            code="bad_config",
            facts={"key": key},
        )
    return value  # type: ignore[no-any-return]


def _fits(setting: Setting, value: Any) -> bool:
    default = setting.default
    if isinstance(default, bool):
        return isinstance(value, bool)
    if isinstance(default, int | float):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and (0 < value < 10**9 or (setting.may_be_zero and value == 0))
    if isinstance(default, list):
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if isinstance(default, dict):
        return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())
    clean = isinstance(value, str) and "\0" not in value
    return clean and (not setting.choices or value in setting.choices)


def _wanted(setting: Setting) -> str:
    if setting.choices:
        return "one of " + ", ".join(setting.choices)
    if setting.may_be_zero:
        return "a positive number, or 0"
    kinds = {bool: "true or false", int: "a positive number", list: "a list of strings"}
    kinds[dict] = "a table of strings"
    return kinds.get(type(setting.default), "a string")


def _toml(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, dict):
        pairs = ", ".join(f"{_toml(name)} = {_toml(text)}" for name, text in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, str):
        import json

        return json.dumps(value, ensure_ascii=False)
    return str(value)
