from core.house import (  # noqa: F401 (fixtures)
    bare,
    governed,
    logged_uv,
    make_governed,
    own_home,
    shared,
    unmade,
)
