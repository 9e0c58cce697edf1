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
_BROUGHT = frozenset(brought for names in _BRINGS.values() for brought in names)
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

# What ComfyUI and its nodes ask for most, for names that are spelt nearly so; the table of modules
# has the rest.
_OFTEN_WORDS = """
accelerate addict aiofiles aiohttp alembic anthropic av bitsandbytes boto3 cachetools cffi
chardet click colorama color-matcher comfyui-embedded-docs comfyui-frontend-package
comfyui-workflow-templates controlnet-aux cryptography cupy-cuda12x decord diffusers einops
emoji evalidate facexlib fal-client fastapi filelock flask fonttools ftfy fvcore gradio
gradio-client groq httpx huggingface-hub hf-transfer hf-xet imageio importlib-metadata
iopath insightface jinja2 joblib jsonschema librosa loguru lxml markdown matplotlib
networkx ninja nltk numba numexpr numpy ollama omegaconf open3d openai opencv-python openpyxl
packaging pandas peft piexif pillow-heif pixeloe platformdirs plyfile pooch protobuf
psutil psycopg2 py-cpuinfo pycocotools pydantic pydantic-settings pygit2 pygments pymongo
pyperclip pyrender pytorch-lightning redis regex replicate requests requirements-parser rich
runwayml s3fs safetensors sageattention scikit-build scikit-image scikit-learn scipy seaborn
selenium sentence-transformers sentencepiece setuptools shapely simpleeval spacy spandrel
sqlalchemy sympy tensorboard tensorflow tiktoken timm tokenizers toml torchdiffeq torchmetrics
torchsde tqdm transformers trimesh triton typer typing-extensions urllib3 uvicorn webcolors
websockets wheel xformers yacs yarl yt-dlp
"""
_OFTEN = frozenset(_OFTEN_WORDS.split())


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
    known = (_BROUGHT | _OFTEN | set(others)) - {name}
    near = get_close_matches(name, sorted(known), n=1, cutoff=0.8)
    return STAND_INS.get(name) or next(iter(near), None)


def is_well_known(distribution: str) -> bool:
    """Claim: it stands in a table here, so that it may be tried without a person's word.  Anybody
    may publish a package under the name of a module that has none."""
    return distribution in _BROUGHT or distribution in _OFTEN


def _prefixes(module: str) -> list[str]:
    """`a.b.c`, `a.b`, `a`."""
    parts = module.split(".")
    return [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
