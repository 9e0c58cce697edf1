from tasks import *  # noqa: F403
