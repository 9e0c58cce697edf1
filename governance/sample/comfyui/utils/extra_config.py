import logging
import os

import yaml

import folder_paths


def load_extra_path_config(yaml_path):
    with open(yaml_path, encoding="utf-8") as stream:
        config = yaml.safe_load(stream)
    yaml_folder = os.path.dirname(os.path.abspath(yaml_path))
    for section in config.values():
        if section is not None:
            _add_section(dict(section), yaml_folder)


def _add_section(section, yaml_folder):
    base = section.pop("base_path", None)
    if base:
        base = os.path.join(yaml_folder, os.path.expandvars(os.path.expanduser(base)))
    is_default = section.pop("is_default", False)
    for kind, paths in section.items():
        for line in filter(None, paths.split("\n")):
            path = os.path.normpath(os.path.join(base or yaml_folder, line))
            logging.info(f"Adding extra search path {kind} {path}")
            folder_paths.add_model_folder_path(kind, path, is_default)
