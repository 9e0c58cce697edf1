import argparse
import os

DATABASE_PATH = os.path.abspath(
    os.path.join(os.path.dirname(__file__), "..", "user", "comfyui.db")
)


def existing_directory(path):
    if not os.path.isdir(path):
        raise argparse.ArgumentTypeError(f"'{path}' is not a directory.")
    return path


parser = argparse.ArgumentParser()
# What an older ComfyUI lacks stands on one line each, so that it can be left out.
parser.set_defaults(base_directory=None, whitelist_custom_nodes=[], database_url=None)
parser.set_defaults(quick_test_for_ci=False)

parser.add_argument("--listen", default="127.0.0.1", metavar="IP", nargs="?", const="0.0.0.0,::")
parser.add_argument("--port", type=int, default=8188)
parser.add_argument("--base-directory")
parser.add_argument("--extra-model-paths-config", metavar="PATH", nargs="+", action="append")
parser.add_argument("--output-directory")
parser.add_argument("--temp-directory")
parser.add_argument("--input-directory")
parser.add_argument("--user-directory", type=existing_directory)
parser.add_argument("--auto-launch", action="store_true")
parser.add_argument("--disable-auto-launch", action="store_true")
parser.add_argument("--cpu", action="store_true")
parser.add_argument("--dont-print-server", action="store_true")
parser.add_argument("--quick-test-for-ci", action="store_true")
parser.add_argument("--disable-metadata", action="store_true")
parser.add_argument("--disable-all-custom-nodes", action="store_true")
parser.add_argument("--whitelist-custom-nodes", nargs="+", default=[])
parser.add_argument("--verbose", default="INFO", const="DEBUG", nargs="?", choices=["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"])
parser.add_argument("--log-stdout", action="store_true")
parser.add_argument("--database-url", default=f"sqlite:///{DATABASE_PATH}")

args = parser.parse_args()
