"""A real Chromium without a screen, driven over its debugging protocol. Pages' scripts are off, as CSP has it."""

import base64
import itertools
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest

KEYS = {"Tab": 9, "Enter": 13}


class Browser:
    """One tab. `complaints` are what its console said: blocked by a policy, not found."""

    def __init__(self, language: str) -> None:
        websockets = pytest.importorskip("websockets.sync.client", reason="no websockets to drive a browser with")
        program = shutil.which("chromium") or shutil.which("google-chrome")
        if program is None:
            pytest.skip("no Chromium here: apt-get install chromium")
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors", "--no-first-run"]
        options += ["--remote-debugging-port=0", f"--user-data-dir={self._folder.name}", f"--accept-lang={language}"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen([program, *options, "about:blank"], **quiet)
        self.complaints: list[str] = []
        self._numbers = itertools.count(1)
        self._socket = websockets.connect(self._tab(), max_size=None)
        for domain in ("Page", "Log", "Network"):
            self._call(f"{domain}.enable")
        self._call("Emulation.setScriptExecutionDisabled", value=True)

    def close(self) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait()
        self._folder.cleanup()

    def open(self, url: str) -> None:
        self._call("Page.navigate", url=url)
        self._loaded()

    def type(self, text: str) -> None:
        self._call("Input.insertText", text=text)

    def press(self, key: str, *, leads_on: bool = False) -> None:
        for kind in ("keyDown", "keyUp"):
            more = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            self._call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=KEYS[key], **more)
        if leads_on:
            self._loaded()

    def html(self) -> str:
        root = self._call("DOM.getDocument", depth=0)["root"]["nodeId"]
        return self._call("DOM.getOuterHTML", nodeId=root)["outerHTML"]

    def size(self, width: int) -> int:
        """Width of the content where the window has this one, pixels."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=True)
        return self._call("Page.getLayoutMetrics")["cssContentSize"]["width"]

    def picture(self) -> bytes:
        return base64.b64decode(self._call("Page.captureScreenshot")["data"])

    def _tab(self) -> str:
        file = Path(self._folder.name) / "DevToolsActivePort"
        for _ in range(300):
            if file.exists() and len(file.read_text().splitlines()) == 2:
                port = file.read_text().splitlines()[0]
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
                    tabs = [tab for tab in json.load(answer) if tab["type"] == "page"]
                if tabs:
                    return tabs[0]["webSocketDebuggerUrl"]
            time.sleep(0.1)
        raise AssertionError("the browser did not start")

    def _call(self, method: str, **parameters):
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            said = self._hear()
            if said.get("id") == number:
                assert "error" not in said, said
                return said["result"]

    def _loaded(self) -> None:
        while self._hear().get("method") != "Page.loadEventFired":
            pass

    def _hear(self) -> dict:
        said = json.loads(self._socket.recv(timeout=30))
        if said.get("method") == "Log.entryAdded" and said["params"]["entry"]["level"] == "error":
            self.complaints.append(said["params"]["entry"]["text"])
        return said
