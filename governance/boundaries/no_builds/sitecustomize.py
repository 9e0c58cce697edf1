"""On the path of every Python that uv starts: a build back end ends before any code of its own.

uv has no switch that forbids building and leaves the choice of versions as it is (with `--no-build`
it takes older versions that have wheels).  It runs a back end by `python -c` in an environment of
its own; interpreters are asked with `-I`, which passes this file over.
"""

import os
import sys

if sys.orig_argv[1:2] == ["-c"] or "/builds-v" in sys.prefix:
    os.write(2, b"gov: what is built is built in the fence\n")
    os._exit(77)
