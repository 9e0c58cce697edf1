import asyncio
import importlib.util
import inspect
import logging
import os
import sys
import time
import traceback

import numpy
import PIL

import folder_paths
from comfy.cli_args import args
from comfy_api.latest import ComfyExtension

LIBRARIES = {"numpy": numpy.__version__, "PIL": PIL.__version__}


class EmptyLatentImage:
    CATEGORY = "latent"
    RETURN_TYPES = ("LATENT",)
    FUNCTION = "generate"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"width": ("INT", {"default": 512}), "height": ("INT", {"default": 512})}}

    def generate(self, width, height):
        return ({"samples": (width, height)},)


class SaveImage:
    CATEGORY = "image"
    RETURN_TYPES = ()
    FUNCTION = "save_images"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"images": ("IMAGE",)}}

    def save_images(self, images):
        return {}


NODE_CLASS_MAPPINGS = {"EmptyLatentImage": EmptyLatentImage, "SaveImage": SaveImage}
NODE_DISPLAY_NAME_MAPPINGS = {"EmptyLatentImage": "Empty Latent Image"}
EXTENSION_WEB_DIRS = {}
LOADED_MODULE_DIRS = {}


def module_name_of(module_path):
    name = os.path.basename(module_path)
    return os.path.splitext(name)[0] if os.path.isfile(module_path) else name


def load_custom_node(module_path, ignore=frozenset(), module_parent="custom_nodes"):
    try:
        module = _execute(module_path)
        if getattr(module, "WEB_DIRECTORY", None) is not None:
            EXTENSION_WEB_DIRS[module_name_of(module_path)] = os.path.join(module_path, module.WEB_DIRECTORY)
        if getattr(module, "NODE_CLASS_MAPPINGS", None) is not None:
            for name, node in module.NODE_CLASS_MAPPINGS.items():
                _register(name, node, module_path, ignore, module_parent)
            NODE_DISPLAY_NAME_MAPPINGS.update(getattr(module, "NODE_DISPLAY_NAME_MAPPINGS", None) or {})
            return True
        if hasattr(module, "comfy_entrypoint"):
            return _register_extension(module.comfy_entrypoint, module_path, ignore, module_parent)
        logging.warning(
            f"Skip {module_path} module for custom nodes due to the lack of NODE_CLASS_MAPPINGS or NODES_LIST (need one)."
        )
        return False
    except Exception as error:
        logging.warning(traceback.format_exc())
        logging.warning(f"Cannot import {module_path} module for custom nodes: {error}")
        return False


def _execute(module_path):
    if os.path.isfile(module_path):
        name, file = os.path.splitext(module_path)[0], module_path
    else:
        name, file = module_path.replace(".", "_x_"), os.path.join(module_path, "__init__.py")
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    LOADED_MODULE_DIRS[module_name_of(module_path)] = os.path.dirname(os.path.abspath(file))
    return module


def _register(name, node, module_path, ignore, module_parent):
    if name not in ignore:
        NODE_CLASS_MAPPINGS[name] = node
        node.RELATIVE_PYTHON_MODULE = f"{module_parent}.{module_name_of(module_path)}"


def _register_extension(entrypoint, module_path, ignore, module_parent):
    try:
        extension = asyncio.run(entrypoint()) if inspect.iscoroutinefunction(entrypoint) else entrypoint()
        if not isinstance(extension, ComfyExtension):
            logging.warning(f"comfy_entrypoint in {module_path} did not return a ComfyExtension, skipping.")
            return False
        for node in asyncio.run(extension.get_node_list()):
            schema = node.GET_SCHEMA()
            _register(schema.node_id, node, module_path, ignore, module_parent)
            if schema.display_name is not None:
                NODE_DISPLAY_NAME_MAPPINGS[schema.node_id] = schema.display_name
        return True
    except Exception as error:
        logging.warning(f"Error while calling comfy_entrypoint in {module_path}: {error}")
        return False


def init_external_custom_nodes():
    base_names = set(NODE_CLASS_MAPPINGS)
    times = []
    for folder in folder_paths.get_folder_paths("custom_nodes"):
        for entry in os.listdir(os.path.realpath(folder)):
            path = os.path.join(folder, entry)
            if entry == "__pycache__" or path.endswith(".disabled"):
                continue
            if os.path.isfile(path) and os.path.splitext(path)[1] != ".py":
                continue
            if args.disable_all_custom_nodes and entry not in args.whitelist_custom_nodes:
                logging.info(f"Skipping {entry} due to disable_all_custom_nodes and whitelist_custom_nodes")
                continue
            started = time.perf_counter()
            success = load_custom_node(path, base_names)
            times.append((time.perf_counter() - started, path, success))
    log_times("Import times for custom nodes:", " (IMPORT FAILED)", times)


def log_times(title, failed, times):
    if times:
        logging.info(f"\n{title}")
        for seconds, path, success in sorted(times):
            logging.info(f"{seconds:6.1f} seconds{'' if success else failed}: {path}")
        logging.info("")


def init_extra_nodes(init_custom_nodes=True):
    extras = os.path.join(os.path.dirname(os.path.realpath(__file__)), "comfy_extras")
    load_custom_node(os.path.join(extras, "nodes_string.py"), module_parent="comfy_extras")
    if init_custom_nodes:
        init_external_custom_nodes()
    else:
        logging.info("Skipping loading of custom nodes")
