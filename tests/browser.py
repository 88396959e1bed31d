"""Drives a headless Chromium over its debugging pipe, for tests of pages."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")

# The browser reads from descriptor 3 and writes to 4; one of these may be the pipe to move there.
LAUNCHER = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
for end, number in zip(ends, (3, 4)):
    os.dup2(end, number)
    os.close(end)
os.execv(sys.argv[3], sys.argv[3:])
"""


def find() -> str | None:
    """Returns the program, if one is installed."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """Is a page of a browser of its own, which notes what the page asks for and complains of."""

    def __init__(self, program: str, profile: Path, address: str, *, dark: bool = False) -> None:
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        arguments = [
            *(program, "--headless=new", "--remote-debugging-pipe", "--no-sandbox"),
            *("--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run"),
            *("--disable-background-networking", f"--user-data-dir={profile}"),
            *("--window-size=1200,900", "about:blank"),
        ]
        self._process = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, str(to_browser), str(from_browser), *arguments],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._buffer = b""
        self._count = 0
        self._pressed = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        try:
            self._open(address, "dark" if dark else "light")
        except BaseException:
            self.close()
            raise

    def _open(self, address: str, scheme: str) -> None:
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.send("Emulation.setEmulatedMedia", features=features)
        self.send("Page.navigate", url=address)
        # The blank page before it is complete, too.
        self.wait(f"location.href === {json.dumps(address)} && document.readyState === 'complete'")

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Returns what the browser answers; raises RuntimeError for an error, or TimeoutError."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        limit = time.monotonic() + 60
        while True:
            answer = self._receive(limit)
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return dict(answer["result"])
            self.events.append(answer)

    def _receive(self, limit: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            left = limit - time.monotonic()
            if left <= 0 or not select.select([self._in], [], [], left)[0]:
                raise TimeoutError("the browser does not answer")
            block = os.read(self._in, 1 << 20)
            if not block:
                raise RuntimeError("the browser has ended")
            self._buffer += block
        line, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(line))

    def run(self, script: str) -> Any:
        """Returns the value of an expression in the page; raises RuntimeError if it throws."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def wait(self, script: str) -> None:
        """Waits until an expression in the page is true."""
        limit = time.monotonic() + 60
        while not self.run(script):
            if time.monotonic() > limit:
                raise TimeoutError(script)
            time.sleep(0.02)

    def mouse(self, kind: str, x: float, y: float) -> None:
        """Sends mouseMoved, mousePressed or mouseReleased."""
        self._pressed = {"mousePressed": 1, "mouseReleased": 0}.get(kind, self._pressed)
        button: dict[str, Any] = {"button": "left", "clickCount": 1}
        if kind == "mouseMoved":
            button = {"buttons": self._pressed, "button": "left" if self._pressed else "none"}
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button)

    def key(self, key: str) -> None:
        text = {"text": " "} if key == " " else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key)

    def requests(self) -> list[str]:
        """Returns the addresses that the page asked for, but for data within it."""
        sent = [e["params"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        addresses = [params["request"]["url"] for params in sent]
        return [address for address in addresses if not address.startswith("data:")]

    def complaints(self) -> list[dict[str, Any]]:
        """Returns what the page or the browser wrote to the console, and what was thrown."""
        kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [event for event in self.events if event.get("method") in kinds]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._out)
        os.close(self._in)
