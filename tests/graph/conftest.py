from core.house import (  # noqa: F401 (fixtures)
    bare,
    comfyui_template,
    governed,
    make_governed,
    own_home,
    shared_cache,
    tool,
    unmade,
    wheels,
)
