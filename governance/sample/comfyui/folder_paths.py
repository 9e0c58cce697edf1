import logging
import os

from comfy.cli_args import args

if args.base_directory:
    base_path = os.path.abspath(args.base_directory)
else:
    base_path = os.path.dirname(os.path.realpath(__file__))

models_dir = os.path.join(base_path, "models")
folder_names_and_paths = {
    "checkpoints": ([os.path.join(models_dir, "checkpoints")], {".safetensors", ".ckpt"}),
    "loras": ([os.path.join(models_dir, "loras")], {".safetensors"}),
    "custom_nodes": ([os.path.join(base_path, "custom_nodes")], set()),
}
output_directory = os.path.join(base_path, "output")
temp_directory = os.path.join(base_path, "temp")
input_directory = os.path.join(base_path, "input")
user_directory = os.path.join(base_path, "user")

if not os.path.exists(input_directory):
    try:
        os.makedirs(input_directory)
    except OSError:
        logging.error("Failed to create input directory")


def add_model_folder_path(kind, path, is_default=False):
    paths, _ = folder_names_and_paths.setdefault(kind, ([], set()))
    if path in paths:
        return
    if is_default:
        paths.insert(0, path)
    else:
        paths.append(path)


def get_folder_paths(kind):
    return folder_names_and_paths[kind][0][:]


def get_output_directory():
    return output_directory


def get_temp_directory():
    return temp_directory


def get_input_directory():
    return input_directory


def get_user_directory():
    return user_directory


def set_output_directory(path):
    global output_directory
    output_directory = path


def set_temp_directory(path):
    global temp_directory
    temp_directory = path


def set_input_directory(path):
    global input_directory
    input_directory = path


def set_user_directory(path):
    global user_directory
    user_directory = path
