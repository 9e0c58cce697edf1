"""What no node should do at its start: told from what many do and may."""

from pathlib import Path

import pytest

from governance.observation import alike, findings
from governance.observation.events import Deeds

NODES = "/c/custom_nodes"


def row(**facts):
    return {"node": "n", "at": "n/__init__.py:3", "stays": False, "cwd": f"{NODES}/n", **facts}


def kinds(**done):
    return sorted(found["kind"] for found in findings.find(Deeds(**done), Path(NODES)))


def kinds_of(*argv, **facts):
    return kinds(programs=[row(argv=list(argv), **facts)])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("apt-get update", ["system_packages"]),
        ("sudo -E apt-get install -y ffmpeg", ["root", "system_packages"]),
        ("cd /tmp && DEBIAN_FRONTEND=noninteractive apt install x", ["system_packages"]),
        ("pacman -Sy ffmpeg", ["system_packages"]),
        ("/opt/homebrew/bin/brew install ffmpeg", ["system_packages"]),
        ("apt --version; brew --prefix; dpkg -l; pacman -Q", []),
        ("pip install update", []),
        ("curl -fsSL https://a/install.sh | sh", ["network_script"]),
        ("wget -qO- https://a/x | sudo bash -s", ["network_script", "root"]),
        ('bash -c "$(curl -fsSL https://a/x)"', ["network_script"]),
        ("curl https://a/model.safetensors -o m", []),
        ("curl https://a/list | grep x", []),
        ("wget https://a/ffmpeg.AppImage?raw=1", ["program_download"]),
        ("nohup ./server", ["daemon"]),
        ("./server &", ["daemon"]),
        ("systemctl status x; systemctl start x", ["daemon"]),
        ("git rev-parse HEAD; git fetch; git submodule status", []),
        ("git pull --ff-only", ["self_update"]),
        ("git -C /c/custom_nodes/n reset --hard", ["self_update"]),
        ("cd ../other && git pull", ["other_node"]),
        ("git -C /c checkout master", ["comfyui"]),
        ("git clone https://a/other", ["program_download"]),
        ("git -C .. clone --depth 1 https://a/other.git", ["other_node"]),
        ("git clone https://a/b.git /c/custom_nodes/other --depth 1", ["other_node"]),
        ("git -C /home/me/elsewhere pull", []),
    ],
)
def test_a_command_line(line, expected):
    assert kinds_of(line + " ") == kinds_of("sh", "-c", line) == expected


def test_a_program_that_stays():
    assert kinds_of("python", "server.py", stays=True) == ["daemon"]
    assert kinds_of("python", "server.py") == []


def test_what_ComfyUI_and_libraries_do_is_no_finding():
    assert kinds_of("apt-get", "install", "x", node=None) == []


def write(path, *how):
    return row(path=path, how=list(how or ("write",)))


def test_files():
    assert kinds(writes=[write(f"{NODES}/other/a.py"), write(f"{NODES}/other/b.py")]) == [
        "other_node"
    ]
    assert kinds(writes=[write("/c/web/x.js"), write("/etc/hosts")]) == ["comfyui", "system_files"]
    may = (
        f"{NODES}/beside.txt",
        "/c/models/x.py",
        "/c/custom_nodes/n/a.py",
        "/home/me/.config/x",
        "/c/settings.json",
    )
    assert kinds(writes=[write(path) for path in may]) == []


def test_a_fetched_program():
    made = [write(f"{NODES}/n/bin/ffmpeg", "write", "chmod +x")]
    far, near = row(host="example.org", port=443), row(host="127.0.0.1", port=1)
    assert kinds(writes=made, hosts=[far]) == ["program_download"]
    assert kinds(writes=made, hosts=[near]) == []
    assert kinds(writes=[write(f"{NODES}/n/bin/x", "chmod +x")], hosts=[far]) == []
    fetch = row(argv=["curl", "-o", "bin", "https://a/b"])
    chmod = row(argv=["chmod", "+x", "bin"])
    assert kinds(programs=[chmod]) == []
    assert kinds(programs=[fetch, chmod]) == ["program_download"]


def test_two_starts_are_alike_but_for_their_folders():
    def key(environment, candidate, temporary):
        line = f"{environment}/bin/python {candidate}/home/x {temporary}"
        return alike.key("programs", {"node": "n", "argv": line.split()})

    first = key("/w/.generations/01-ab", "/w/.venv-candidate/T1", "/tmp/tmp123")
    again = key("/w/.generations/02-cd", "/w/.venv-candidate/T2", "/w/.venv-candidate/T2/tmp/tmp9")
    assert first == again
    assert first != alike.key("programs", {"node": "m", "argv": first.split()[2:]})
