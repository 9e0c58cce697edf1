import importlib.util
import logging
import os
import shutil
import sys
import threading
import time

import folder_paths
import utils.extra_config
from app.logger import setup_logger
from comfy.cli_args import args

setup_logger(log_level=args.verbose, use_stdout=args.log_stdout)


def apply_custom_paths():
    beside = os.path.join(os.path.dirname(os.path.realpath(__file__)), "extra_model_paths.yaml")
    if os.path.isfile(beside):
        utils.extra_config.load_extra_path_config(beside)
    for group in args.extra_model_paths_config or []:
        for path in group:
            utils.extra_config.load_extra_path_config(path)
    for kind in ("output", "input", "user"):
        chosen = getattr(args, f"{kind}_directory")
        if chosen:
            folder = os.path.abspath(chosen)
            logging.info(f"Setting {kind} directory to: {folder}")
            getattr(folder_paths, f"set_{kind}_directory")(folder)


def execute_script(script_path):
    try:
        spec = importlib.util.spec_from_file_location(os.path.splitext(script_path)[0], script_path)
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
        return True
    except Exception as error:
        logging.error(f"Failed to execute startup-script: {script_path} / {error}")
    return False


def execute_prestartup_script():
    if args.disable_all_custom_nodes and not args.whitelist_custom_nodes:
        return
    times = []
    for folder in folder_paths.get_folder_paths("custom_nodes"):
        times = []
        for entry in os.listdir(folder):
            path = os.path.join(folder, entry)
            script = os.path.join(path, "prestartup_script.py")
            if os.path.isfile(path) or path.endswith(".disabled") or not os.path.exists(script):
                continue
            if args.disable_all_custom_nodes and entry not in args.whitelist_custom_nodes:
                logging.info(f"Prestartup Skipping {entry} due to disable_all_custom_nodes and whitelist_custom_nodes")
                continue
            started = time.perf_counter()
            success = execute_script(script)
            times.append((time.perf_counter() - started, path, success))
    if times:
        logging.info("\nPrestartup times for custom nodes:")
        for seconds, path, success in sorted(times):
            logging.info(f"{seconds:6.1f} seconds{'' if success else ' (PRESTARTUP FAILED)'}: {path}")
        logging.info("")


apply_custom_paths()
execute_prestartup_script()

# The core's own packages come after the prestartup scripts, which may still change them.
import comfyui_version  # noqa: E402
import nodes  # noqa: E402
import server  # noqa: E402


def cleanup_temp():
    shutil.rmtree(folder_paths.get_temp_directory(), ignore_errors=True)


def setup_database():
    if args.database_url is None:
        return
    try:
        from app.database.db import init_db

        init_db()
    except Exception as error:
        logging.error(
            f"Failed to initialize database. Please ensure you have installed the latest requirements. {error}"
        )


def start_comfyui():
    if args.temp_directory:
        temp = os.path.join(os.path.abspath(args.temp_directory), "temp")
        logging.info(f"Setting temp directory to: {temp}")
        folder_paths.set_temp_directory(temp)
    cleanup_temp()
    prompt_server = server.PromptServer()
    nodes.init_extra_nodes(
        init_custom_nodes=not args.disable_all_custom_nodes or bool(args.whitelist_custom_nodes)
    )
    setup_database()
    prompt_server.add_routes()
    if args.quick_test_for_ci:
        sys.exit(0)
    os.makedirs(folder_paths.get_temp_directory(), exist_ok=True)
    return prompt_server


if __name__ == "__main__":
    logging.info("Device: cpu")
    logging.info(f"Python version: {sys.version}")
    logging.info(f"ComfyUI version: {comfyui_version.__version__}")
    logging.info(f"numpy version: {nodes.LIBRARIES['numpy']}")
    started_server = start_comfyui()
    try:
        started_server.start_multi_address(
            args.listen.split(","), args.port, verbose=not args.dont_print_server
        )
        threading.Event().wait()
    except KeyboardInterrupt:
        logging.info("\nStopped server")
    cleanup_temp()
