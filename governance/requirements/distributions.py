"""Which distribution brings a module, where the names differ: what ComfyUI nodes really import."""

from __future__ import annotations

import re
from collections.abc import Collection
from difflib import get_close_matches

from governance.base.names import normalise

# Module -> distributions that bring it, the one to suggest first.
_BRINGS: dict[str, tuple[str, ...]] = {
    "OpenSSL": ("pyopenssl",),
    "PIL": ("pillow", "pillow-simd"),
    "albumentations": ("albumentations",),
    "attr": ("attrs",),
    "blend_modes": ("blend-modes",),
    "bs4": ("beautifulsoup4",),
    "clip": ("openai-clip",),
    "clip_interrogator": ("clip-interrogator",),
    "Crypto": ("pycryptodome",),
    "cv2": (
        "opencv-python-headless",
        "opencv-python",
        "opencv-contrib-python",
        "opencv-contrib-python-headless",
    ),
    "dateutil": ("python-dateutil",),
    "dns": ("dnspython",),
    "docx": ("python-docx",),
    "dotenv": ("python-dotenv",),
    "faiss": ("faiss-cpu", "faiss-gpu"),
    "ffmpeg": ("ffmpeg-python",),
    "fitz": ("pymupdf",),
    "git": ("gitpython",),
    "github": ("pygithub",),
    "gguf": ("gguf",),
    "google.generativeai": ("google-generativeai",),
    "googleapiclient": ("google-api-python-client",),
    "groundingdino": ("groundingdino-py",),
    "hydra": ("hydra-core",),
    "imageio_ffmpeg": ("imageio-ffmpeg",),
    "jose": ("python-jose",),
    "jwt": ("pyjwt",),
    "kornia": ("kornia",),
    "llama_cpp": ("llama-cpp-python",),
    "lpips": ("lpips",),
    "magic": ("python-magic",),
    "mediapipe": ("mediapipe",),
    "moviepy": ("moviepy",),
    "mpl_toolkits": ("matplotlib",),
    "OpenGL": ("pyopengl",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "pkg_resources": ("setuptools",),
    "pptx": ("python-pptx",),
    "psd_tools": ("psd-tools",),
    "pydub": ("pydub",),
    "pymatting": ("pymatting",),
    "pynvml": ("nvidia-ml-py",),
    "qrcode": ("qrcode",),
    "rembg": ("rembg",),
    "sam2": ("sam2",),
    "segment_anything": ("segment-anything",),
    "serial": ("pyserial",),
    "simple_lama_inpainting": ("simple-lama-inpainting",),
    "skimage": ("scikit-image",),
    "sklearn": ("scikit-learn",),
    "slugify": ("python-slugify",),
    "soundfile": ("soundfile",),
    "surrealist": ("surrealist",),
    "telegram": ("python-telegram-bot",),
    "transparent_background": ("transparent-background",),
    "ultralytics": ("ultralytics",),
    "usb": ("pyusb",),
    "websocket": ("websocket-client",),
    "win32api": ("pywin32",),
    "yaml": ("pyyaml",),
    "Xlib": ("python-xlib",),
    "cairo": ("pycairo",),
    "colour": ("colour-science",),
    "discord": ("discord-py",),
    "google.cloud.storage": ("google-cloud-storage",),
    "google.genai": ("google-genai",),
    "google.protobuf": ("protobuf",),
    "igl": ("libigl",),
    "lark": (
        "lark",
        "lark-parser",
    ),
    "mcubes": ("pymcubes",),
    "multipart": ("python-multipart",),
    "nio": ("matrix-nio",),
    "open_clip": ("open-clip-torch",),
    "perth": ("resemble-perth",),
    "pythonosc": ("python-osc",),
    "pywt": ("pywavelets",),
    "ruamel.yaml": ("ruamel-yaml",),
    "socks": ("pysocks",),
    "spconv": ("spconv-cu126",),
    "speech_recognition": ("speechrecognition",),
    "stable_whisper": ("stable-ts",),
    "whisper": ("openai-whisper",),
    "zmq": ("pyzmq",),
}
# Modules that many distributions share: none is called like them.
_SHARED = frozenset({"google", "ruamel", "nvidia", "azure", "sphinxcontrib", "zope"})
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")

# Names on the index that are stand-ins: their build fails with a word about the real one.
STAND_INS = {
    "sklearn": "scikit-learn",
    "cv2": "opencv-python-headless",
    "pil": "pillow",
    "yaml": "pyyaml",
    "skimage": "scikit-image",
    "bs4": "beautifulsoup4",
    "dotenv": "python-dotenv",
    "git": "gitpython",
    "crypto": "pycryptodome",
    "ffmpeg": "ffmpeg-python",
    "fitz": "pymupdf",
    "opencv": "opencv-python-headless",
    "clip": "openai-clip",
    "dateutil": "python-dateutil",
    "websocket": "websocket-client",
    "serial": "pyserial",
    "zmq": "pyzmq",
}


def distribution_of(module: str, locked: Collection[str] = ()) -> str | None:
    """The distribution to ask for; one that is in the lock already, where several bring it.

    A module that is not in the table is taken to be called like its distribution; None for what
    cannot be the name of one.
    """
    top = module.partition(".")[0]
    known = next((_BRINGS[part] for part in _prefixes(module) if part in _BRINGS), ())
    if known:
        return next((name for name in known if name in locked), known[0])
    name = normalise(top)
    is_plausible = _NAME.fullmatch(name) and not top.startswith("_") and top not in _SHARED
    return name if is_plausible else None


def meant(name: str, others: Collection[str]) -> str | None:
    """The distribution that a name which cannot be had is likely to stand for: one of the table,
    or of `others`, that is spelt nearly so."""
    known = {brought for names in _BRINGS.values() for brought in names} | set(others)
    near = get_close_matches(name, sorted(known - {name}), n=1, cutoff=0.8)
    return STAND_INS.get(name) or next(iter(near), None)


def _prefixes(module: str) -> list[str]:
    """`a.b.c`, `a.b`, `a`."""
    parts = module.split(".")
    return [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
