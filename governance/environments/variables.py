"""Which of the operator's environment variables an observed program gets.

Nobody has looked at its code yet, so it gets what says how this machine computes and where things
lie, and no secret.  Prod gets all of them; `sandbox.pass_environment` names what a node needs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from governance.base.masking import is_secret

# gov's own, and what would change the environment under observation: passed on by nobody.
_FOREIGN = (
    *("PYTHON", "PIP_", "UV_", "VIRTUAL_ENV", "CONDA", "GIT_", "GOV_", "LD_PRELOAD"),
    # Sockets of the operator's desktop.
    *("XDG_RUNTIME_DIR", "XDG_SESSION", "DISPLAY", "WAYLAND_"),
)
# How a child reaches the network and its certificates is the machine's business.
_NETWORK = (
    *("PIP_CERT", "PIP_PROXY", "PIP_DEFAULT_TIMEOUT", "PIP_TRUSTED_HOST", "GIT_SSL_CAINFO"),
    *("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE"),
)
_KNOWN = (
    *("PATH", "LANG", "LANGUAGE", "LC_*", "TERM", "COLORTERM", "NO_COLOR", "FORCE_COLOR", "TZ"),
    *("USER", "LOGNAME", "SHELL", "PWD", "COLUMNS", "LINES", "HOSTNAME"),
    *("LD_LIBRARY_PATH", "LIBRARY_PATH", "CPATH", "CC", "CXX", "CFLAGS", "LDFLAGS", "MAX_JOBS"),
    *("CUDA_*", "NVIDIA_*", "NCCL_*", "CUBLAS_*", "CUDNN_*", "TORCH_*", "PYTORCH_*", "XLA_*"),
    *("ROCR_*", "ROCM_*", "HIP_*", "HSA_*", "MIOPEN_*", "AMD_*", "SYCL_*", "ONEAPI_*", "ZE_*"),
    *("IPEX_*", "XPU_*", "DIRECTML_*", "ASCEND_*", "OMP_*", "MKL_*", "OPENBLAS_*", "KMP_*"),
    *("BLIS_*", "NUMEXPR_*", "NUMBA_*", "TRITON_*", "TF_*", "ORT_*", "ONNX*", "OPENCV_*", "CV_*"),
    *("HF_*", "HUGGINGFACE_*", "TRANSFORMERS_*", "DIFFUSERS_*", "TOKENIZERS_*", "COMFY*"),
    *("MALLOC_*", "TCMALLOC_*", "QT_QPA_PLATFORM", "SDL_*", "MPLBACKEND", "MPLCONFIGDIR"),
)
_HARMLESS = re.compile(r"|[-+]?[\d.]{1,12}|true|false|yes|no|on|off|auto|none", re.IGNORECASE)
# What shells, terminals, desktops and CI set for themselves: no node misses it.
_IRRELEVANT = re.compile(
    r"_|__\w+|SHLVL|OLDPWD|HOME|TMPDIR|TEMP|TMP|PS\d|LS_COLORS|LESS\w*|PAGER|EDITOR|VISUAL|MAIL|"
    r"HIST\w*|TERM_\w+|TMUX\w*|STY|WINDOWID|DISPLAY|WAYLAND\w*|XAUTHORITY|XDG_\w+|SSH_\w+|GPG_\w+|"
    r"DBUS_\w+|GNOME_\w+|GTK_\w+|KDE_\w+|DESKTOP\w*|VSCODE_\w+|CLAUDE\w*|WT_\w+|WSL\w*|INVOCATION_ID|"
    r"JOURNAL_STREAM|MANAGERPID|SYSTEMD_\w+|CI|CI_\w+|GITHUB_\w+|GITLAB_\w+|RUNNER_\w+|PYTEST_\w+|"
    r"DEBIAN_FRONTEND|SUDO_\w+|OSTYPE|MACHTYPE|HOSTTYPE|EUID|UID|CONDA\w*|COV_\w+|COVERAGE_\w+"
)


class Sorted(NamedTuple):
    """`passed` to the program; `left_out` are names that it may miss."""

    passed: dict[str, str]
    left_out: tuple[str, ...]


def sort(environ: Mapping[str, str], asked_for: Sequence[str]) -> Sorted:
    """`asked_for` are names and patterns (`HF_*`) of the config; they pass whatever they hold."""
    passed, left_out = {}, []
    for name, value in environ.items():
        if name.startswith(_FOREIGN) and name not in _NETWORK:
            continue
        if _passes(name, value, asked_for):
            passed[name] = value
        elif not _IRRELEVANT.fullmatch(name):
            left_out.append(name)
    return Sorted(passed, tuple(sorted(left_out)))


def _passes(name: str, value: str, asked_for: Sequence[str]) -> bool:
    if _matches(name, asked_for) or name.upper() in _NETWORK:
        return True
    if is_secret(name, value):
        return False
    # A folder's name is none, nor is a number or a switch; anything else may be.
    return _matches(name, _KNOWN) or _is_path(value) or bool(_HARMLESS.fullmatch(value))


def _is_path(value: str) -> bool:
    """Of something that is there, or could be made in a folder that is."""
    return value.startswith("/") and "\0" not in value and os.path.isdir(os.path.dirname(value))  # noqa: PTH112, PTH120


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


_CACHE = re.compile(
    r"\w*(_HOME|_CACHE|_CACHE_DIR|_CACHE_PATH|_CACHE_HOME|_CACHE_FOLDER|_CACHEDIR)"
    r"|CUDA_CACHE_PATH|MPLCONFIGDIR|YOLO_CONFIG_DIR|NLTK_DATA|TRANSFORMERS_CACHE"
)


def is_cache(name: str) -> bool:
    """A folder that libraries write into as they like, and fill again where it is empty."""
    return bool(_CACHE.fullmatch(name)) and name not in ("CUDA_HOME", "ROCM_HOME", "JAVA_HOME")
