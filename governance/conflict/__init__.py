"""Why a lock failed, and what would make it work: every answer was given by a resolver run.

Read in this order: `problem` (what is asked), `solver` (one real `uv lock`), `message` (uv's words
as a guess), `search` (minimal sets), `causes`, `fixes`, `explain`.
"""
