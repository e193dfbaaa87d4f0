"""A headless Chromium that a test drives by the DevTools protocol over a pipe: no driver and no library is needed."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "chrome-headless-shell")
PROGRAM = next((found for one in NAMES if (found := shutil.which(one))), None)
"""The browser of this machine, None where there is none."""

_FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --hide-scrollbars --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync --disable-extensions "
    "--remote-debugging-pipe"
)
_PATIENCE = 30.0


class Browser:
    """One page of a browser; messages of the console and requests are kept as they come.

    Attributes:
        complaints: what the console was told, and exceptions, since the page was opened.
        requests: the addresses that the page asked for since then.
    """

    def __init__(self, program: str, home: Path) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        theirs_in, self._out = _pipe()
        self._in, theirs_out = _pipe()

        def place() -> None:  # the protocol has the browser read from 3 and write to 4
            os.dup2(theirs_in, 3)
            os.dup2(theirs_out, 4)

        command = [program, *_FLAGS.split(), f"--user-data-dir={home}"]
        self._process = subprocess.Popen(
            command,
            preexec_fn=place,
            close_fds=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._session: str | None = None
        self._number, self._rest, self._loaded = 0, b"", False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        """End the browser."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def call(self, method: str, **values: Any) -> Any:
        """Return what a method of the protocol answers."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": values}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        answer: dict[str, Any] = {}

        def is_ours(told: dict[str, Any]) -> bool:
            answer.update(told if told.get("id") == self._number else {})
            return bool(answer)

        self._listen(is_ours)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def open(self, page: Path, width: int = 1280, scheme: str = "light", media: str = "", scripts: bool = True) -> None:
        """Open a page in a window of some width, by a colour scheme, on screen or (`media`) as printed."""
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500
        )
        self.call(
            "Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": scheme}]
        )
        self.complaints, self.requests, self._loaded = [], [], False
        self.call("Page.navigate", url=page.as_uri())
        self._listen(lambda _: self._loaded)

    def tell(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def point(self, x: float, y: float) -> None:
        """Move the mouse to a place of the window."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, x: float, y: float) -> None:
        """Click on a place of the window."""
        self.point(x, y)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def write(self, text: str) -> None:
        """Type where the page has its focus."""
        self.call("Input.insertText", text=text)

    def _listen(self, is_enough: Callable[[dict[str, Any]], bool]) -> None:
        """Read messages until one is enough. Raises TimeoutError where none is for long."""
        end = time.monotonic() + _PATIENCE
        while True:
            *whole, self._rest = self._rest.split(b"\0")
            for at, raw in enumerate(whole):
                told = json.loads(raw)
                self._note(told)
                if is_enough(told):
                    self._rest = b"\0".join([*whole[at + 1 :], self._rest])
                    return
            if not select.select([self._in], [], [], max(0.0, end - time.monotonic()))[0]:
                raise TimeoutError("the browser does not answer")
            data = os.read(self._in, 1 << 20)
            if not data:
                raise TimeoutError("the browser ended")
            self._rest += data

    def _note(self, told: dict[str, Any]) -> None:
        kind, values = told.get("method"), told.get("params", {})
        if kind == "Page.loadEventFired":
            self._loaded = True
        elif kind == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])
        elif kind == "Runtime.consoleAPICalled":
            self.complaints.append(f"{values['type']}: {[one.get('value') for one in values['args']]}")
        elif kind == "Runtime.exceptionThrown":
            self.complaints.append(str(values["exceptionDetails"]))
        elif kind == "Log.entryAdded":
            self.complaints.append(f"{values['entry']['level']}: {values['entry']['text']}")


def _pipe() -> tuple[int, int]:
    """Return a pipe whose ends have numbers that the browser's own do not take."""
    ends = os.pipe()
    high = tuple(fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 10) for one in ends)
    for one in ends:
        os.close(one)
    return high[0], high[1]
