"""Talks to a program on a pseudo-terminal, as a person would.

usage: terminal.py PROGRAM ARGUMENT… < dialogue

Each line of the dialogue is a JSON list: ["type", text] types it, ["see", regex] waits until what was
printed since the last step matches, ["until", [text, regex]] types it at the prompt again and again
until what it gives matches, ["end", status] waits until the program ends with that status. All
that was printed goes to standard output at the end, escape sequences taken out.
"""

import json
import os
import pty
import re
import select
import sys
import time

STEP_SECONDS = 30
PROMPT = "millstream> "
ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[=>])")


class Terminal:
    def __init__(self, arguments):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "xterm"
            os.execvp(arguments[0], arguments)
        self.printed, self.seen = "", 0

    def read(self, seconds):
        """Takes in what is printed within the time; false when the program has closed its end."""
        ready, _, _ = select.select([self.fd], [], [], seconds)
        if not ready:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return False
        self.printed += ESCAPES.sub("", data.decode(errors="replace")).replace("\r", "")
        return bool(data)

    def see(self, pattern):
        deadline = time.monotonic() + STEP_SECONDS
        while True:
            match = re.search(pattern, self.printed[self.seen :], re.S)
            if match:
                self.seen += match.end()
                return
            if time.monotonic() > deadline or not self.read(0.1):
                sys.exit(f"never saw {pattern!r} after:\n{self.printed[self.seen:]!r}")

    def until(self, text, pattern):
        deadline = time.monotonic() + STEP_SECONDS
        while True:
            start = self.seen
            os.write(self.fd, text.encode())
            self.see(PROMPT)
            if re.search(pattern, self.printed[start : self.seen], re.S):
                return
            if time.monotonic() > deadline:
                sys.exit(f"{text!r} never gave {pattern!r}:\n{self.printed[start:]!r}")
            time.sleep(0.1)

    def end(self, status):
        deadline = time.monotonic() + STEP_SECONDS
        while self.read(0.1):
            if time.monotonic() > deadline:
                os.kill(self.pid, 9)
                sys.exit(f"did not end; it printed:\n{self.printed}")
        _, result = os.waitpid(self.pid, 0)
        if os.waitstatus_to_exitcode(result) != status:
            sys.exit(f"ended with {os.waitstatus_to_exitcode(result)}, not {status}:\n{self.printed}")


terminal = Terminal(sys.argv[1:])
for step, argument in map(json.loads, sys.stdin):
    if step == "type":
        os.write(terminal.fd, argument.encode())
    elif step == "see":
        terminal.see(argument)
    elif step == "until":
        terminal.until(*argument)
    elif step == "end":
        terminal.end(argument)
    else:
        sys.exit(f"no such step: {step}")
print(terminal.printed)
