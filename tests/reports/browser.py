"""A headless Chromium that tests talk to over a pipe (DevTools protocol), in real time and without other packages."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

_FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-background-networking --disable-component-update "
    "--disable-sync --no-first-run --disable-default-apps --window-size=1280,900 --remote-debugging-pipe"
)


class Browser:
    """One browser with one tab. ``complaints`` holds what pages wrote on the console and the errors they raised."""

    def __init__(self, profile: Path, patience: float = 90.0) -> None:
        self.complaints: list[str] = []
        self._patience, self._number, self._kept = patience, 0, b""
        their_in, self._out = os.pipe()
        self._in, their_out = os.pipe()
        # The protocol wants descriptors 3 and 4; first out of the way, so that neither is overwritten by the other
        high = [fcntl.fcntl(end, fcntl.F_DUPFD, 100) for end in (their_in, their_out)]
        self._process = subprocess.Popen(
            [str(CHROMIUM), *_FLAGS.split(), f"--user-data-dir={profile}"],
            preexec_fn=lambda: (os.dup2(high[0], 3), os.dup2(high[1], 4)),
            pass_fds=(3, 4),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for end in (their_in, their_out, *high):
            os.close(end)
        self._session = ""
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._ask(f"{domain}.enable")

    def open(self, page: Path, width: int = 1280, height: int = 900) -> None:
        """Load a page in a window of that many pixels, a phone's if it is narrow, and wait until it is there."""
        self.complaints.clear()
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._ask("Emulation.setDeviceMetricsOverride", **size)
        self._ask("Page.navigate", url=page.as_uri())
        self._wait(lambda message: message.get("method") == "Page.loadEventFired")

    def run(self, script: str) -> Any:
        """Run an expression in the page, wait for it if it is a promise, and return its value."""
        answer = self._ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def close(self) -> None:
        """End the browser and everything it started."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        answer = self._wait(lambda message: message.get("id") == number)
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def _wait(self, wanted: Any) -> dict[str, Any]:
        """Read messages until the wanted one, keeping note of complaints on the way."""
        end = time.monotonic() + self._patience
        while True:
            while b"\0" not in self._kept:
                ready, _, _ = select.select([self._in], [], [], max(0.0, end - time.monotonic()))
                received = os.read(self._in, 1 << 20) if ready else b""
                if not received:
                    raise TimeoutError("the browser does not answer" if not ready else "the browser has ended")
                self._kept += received
            line, self._kept = self._kept.split(b"\0", 1)
            message = json.loads(line)
            if message.get("method") in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
                self.complaints.append(json.dumps(message["params"]))
            if wanted(message):
                return message
