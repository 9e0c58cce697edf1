"""The life of a plugin change: run, resolve, promote, abort.

Everything up to the commit happens beside prod.  `tx run` records; `tx promote` re-plans on
today's truth, through the same stages, and finds them done where nothing moved.
"""
