"""`gov adopt`: an installation that runs comes under gov as it is, by one transaction.

The environment that ComfyUI runs in today and its nodes are surveyed (`environment`, `survey`,
`manager`), registered where they lie, locked with the installed versions as preferences, and
proved: the old installation is started in the fence and watched, then the new one (`proof`).
Nothing is moved, and nothing of the old environment is touched.
"""

from governance.adoption.adopt import Adopted, Wish, adopt, check, look

__all__ = ["Adopted", "Wish", "adopt", "check", "look"]
