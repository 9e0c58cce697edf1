"""A program at a terminal of its own: what is typed, and what was seen when it ended."""

import os
import pty
import select
import signal
import time

SECONDS = 60


class Terminal:
    """`type` sends keys; `until` reads on; `end` waits for the program and gives its code."""

    def __init__(self, argv, *, cwd=None, env=None):
        self.seen = ""
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            try:
                if cwd is not None:
                    os.chdir(cwd)
                os.execvpe(argv[0], [str(word) for word in argv], dict(env or os.environ))
            finally:
                os._exit(127)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """A test that failed leaves nothing behind that holds a workspace."""
        if self._pid:
            os.kill(self._pid, signal.SIGTERM)
            self.end()

    def type(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def until(self, text: str) -> str:
        """All that was seen, once `text` is in it."""
        deadline = time.monotonic() + SECONDS
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            assert self._read(), self.seen
        return self.seen

    def end(self) -> int:
        deadline = time.monotonic() + SECONDS
        while self._read():
            assert time.monotonic() < deadline, self.seen
        status = os.waitpid(self._pid, 0)[1]
        self._pid = 0
        return os.waitstatus_to_exitcode(status)

    def _read(self) -> bool:
        """False when the program has closed the terminal."""
        if not select.select([self._fd], [], [], 0.2)[0]:
            return True
        try:
            data = os.read(self._fd, 65536)
        except OSError:
            data = b""
        if not data:
            os.close(self._fd)
        self.seen += data.decode(errors="replace")
        return bool(data)
