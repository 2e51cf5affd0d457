"""Commands as processes that cost no import: the other end of `kill_server.py`."""

import json
import subprocess
import sys

import kill_server
import tiny_command


class Forked:
    """Runs commands, one after the other, that know only their arguments and the file system."""

    def __init__(self, folder, repository):
        """Starts the server; it works in `folder`."""
        self.folder, self._log = folder, folder / "log"
        self._server = subprocess.Popen(
            [sys.executable, kill_server.__file__],
            env={**tiny_command.environment(repository), "TF_CPP_MIN_LOG_LEVEL": "2"},
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def call(self, words, **options):
        """Runs a command; returns its exit code and the points it has passed."""
        self._log.write_text("")
        request = {"words": list(map(str, words)), "log": str(self._log), **options}
        request["below"] = str(self.folder)
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        answer = json.loads(self._server.stdout.readline())
        return answer["code"], answer["points"]

    def finish(self, words):
        """Runs a command that must succeed; returns the points it has passed."""
        code, points = self.call(words)
        assert code == 0, self.said()
        return points

    def said(self):
        """What the last command has printed."""
        return self._log.read_text(errors="replace")

    def close(self):
        """Ends the server."""
        self._server.stdin.close()
        self._server.wait(30)
