"""A headless Chromium, driven over its DevTools protocol.

Nothing but websockets is needed: a whole driver library would be a second browser to keep.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ["chromium", "chromium-browser", "google-chrome", "chrome"]
PATIENCE = 300.0  # seconds, of a busy machine
OPTIONS = [
    "--headless=new",
    "--no-sandbox",  # a container's root has none; the page is our own
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
    "--remote-debugging-port=0",
]


def chromium() -> str | None:
    """The browser's path, or None."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Page:
    """One tab.

    Attributes
    ----------
    complaints : list of str
        What the console said in warning or error, and exceptions that nothing caught.
    requests : list of str
        Addresses that the page asked for.
    """

    def __init__(self, socket: Any, session: str) -> None:
        self._socket, self._session, self._calls = socket, session, 0
        self._loaded = False
        self.complaints: list[str] = []
        self.requests: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """Run a command of the protocol and wait for its result."""
        self._calls += 1
        message = {"id": self._calls, "method": method, "params": parameters}
        self._socket.send(json.dumps(message | {"sessionId": self._session}))
        while (answer := self._receive()).get("id") != self._calls:
            pass
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def open(self, file: Path) -> None:
        """Load a file and wait until it is there."""
        self.open_address(file.as_uri())

    def open_address(self, address: str) -> None:
        """Load a page and wait until it is there."""
        self._loaded = False
        self.complaints.clear()
        self.requests.clear()
        self.call("Page.navigate", url=address)
        while not self._loaded:
            self._receive()

    def js(self, expression: str) -> Any:
        """The value of an expression, once its promise, if it is one, is kept."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"]["description"])
        return answer["result"].get("value")

    def click(self, expression: str) -> None:
        """Click with the mouse in the middle of the element that the expression gives."""
        x, y = self.js(
            "(() => { const it = (" + expression + "); it.scrollIntoView("
            "{block: 'center', behavior: 'instant'}); const box = it.getBoundingClientRect();"
            "return [box.left + box.width / 2, box.top + box.height / 2]; })()"
        )
        self.mouse(x, y, "mousePressed", "mouseReleased")

    def mouse(self, x: float, y: float, *steps: str) -> None:
        """Move the mouse there, then what ``steps`` name."""
        for step in ("mouseMoved", *steps):
            button = {} if step == "mouseMoved" else {"button": "left", "clickCount": 1}
            self.call("Input.dispatchMouseEvent", type=step, x=x, y=y, **button)

    def key(self, name: str) -> None:
        """Press a key such as Tab, Enter or ArrowRight, or type one letter."""
        code = {"Tab": 9, "Enter": 13, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39}
        text = {"text": "\r"} if name == "Enter" else {"text": name} if len(name) == 1 else {}
        number = {"windowsVirtualKeyCode": code[name]} if name in code else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=name, **number, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=name, **number)

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.call("Input.insertText", text=text)

    def emulate(self, width: int, height: int = 900, dark: bool = False, still: bool = False):
        """A screen of this size, and what the reader prefers."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        preferred = {
            "prefers-color-scheme": "dark" if dark else "light",
            "prefers-reduced-motion": "reduce" if still else "no-preference",
        }
        features = [{"name": name, "value": value} for name, value in preferred.items()]
        self.call("Emulation.setEmulatedMedia", features=features)

    def screenshot(self, file: Path, whole: bool = True) -> None:
        """What is seen as a PNG; the whole page unless told otherwise."""
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(answer["data"]))

    def _receive(self) -> dict[str, Any]:
        message = json.loads(self._socket.recv(timeout=PATIENCE))
        facts = message.get("params", {})
        match message.get("method"):
            case "Page.loadEventFired":
                self._loaded = True
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(facts["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if facts["type"] in ("error", "warning", "assert"):
                self.complaints.append(json.dumps(facts["args"]))
            case "Log.entryAdded" if facts["entry"]["level"] in ("error", "warning"):
                self.complaints.append(json.dumps(facts["entry"]))
            case "Network.requestWillBeSent":
                self.requests.append(facts["request"]["url"])
        return message


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """Start Chromium with an empty profile and give its one tab."""
    from websockets.sync.client import connect

    found = chromium()
    assert found is not None
    process = subprocess.Popen(
        [found, *OPTIONS, f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    patient = {"open_timeout": PATIENCE, "ping_interval": None, "max_size": None, "proxy": None}
    try:
        with connect(_address(process, profile), compression=None, **patient) as socket:
            yield Page(socket, _attach(socket))
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _address(process: subprocess.Popen[bytes], profile: Path) -> str:
    """Where the browser listens; it writes that into its profile."""
    file, deadline = profile / "DevToolsActivePort", time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        said = file.read_text().splitlines() if file.exists() else []
        if len(said) == 2:
            return f"ws://127.0.0.1:{said[0]}{said[1]}"
        time.sleep(0.1)
    raise RuntimeError(f"Chromium did not start; exit status {process.poll()}.")


def _attach(socket: Any) -> str:
    """The session of the first tab; the tab is what all later messages are about."""

    def ask(number: int, method: str, **parameters: Any) -> Any:
        socket.send(json.dumps({"id": -number, "method": method, "params": parameters}))
        while (answer := json.loads(socket.recv(timeout=PATIENCE))).get("id") != -number:
            pass
        return answer["result"]

    targets = ask(1, "Target.getTargets")["targetInfos"]
    tab = next(target["targetId"] for target in targets if target["type"] == "page")
    return str(ask(2, "Target.attachToTarget", targetId=tab, flatten=True)["sessionId"])
