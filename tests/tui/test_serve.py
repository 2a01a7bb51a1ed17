"""The room in a browser: who is refused, what is served, how many at a time, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner

from engine.run.directory import list_runs
from engine.run.runs_file import RunsFile
from tui import verbs_serve
from tui.cli import main

aiohttp = pytest.importorskip("aiohttp", reason="the extra `web` is not installed")
pytest.importorskip("textual_serve", reason="the extra `web` is not installed")

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextmanager
def serving(file: RunsFile, *options: str, error: Path | None = None) -> Iterator[tuple[str, psutil.Process]]:
    """A server as a person starts it: its address, and its process. It is ended as Ctrl+C does."""
    command = [sys.executable, "-P", "-m", "tui", "serve", "--config", file.path, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip(), psutil.Process(server.pid)
        finally:
            if server.poll() is None:
                server.send_signal(signal.SIGINT)
            server.communicate(timeout=60)


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait for something that other processes do."""
    for _ in range(600):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"not within 30 s: {what}")


def socket_of(url: str) -> str:
    return f"{url.replace('http', 'ws', 1)}ws?width=120&height=35"


def origin_of(url: str) -> str:
    return url.rpartition("/")[0].rpartition("/")[0]


async def first_screen(socket: Any) -> str:
    """What a room has drawn once its last line is there."""
    drawn = b""
    while b"help" not in drawn or (b"READ-ONLY" not in drawn and b"restart" not in drawn):
        message = await asyncio.wait_for(socket.receive(), 60)
        assert message.type is aiohttp.WSMsgType.BINARY, message
        drawn += message.data
    return drawn.decode("utf-8", "replace")


async def test_only_its_own_page_with_the_secret_is_answered(runs_file: RunsFile) -> None:
    with serving(runs_file) as (url, _):
        own = origin_of(url)
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{43}/", url)
        async with aiohttp.ClientSession() as client:

            async def status(address: str, **headers: str) -> int:
                async with client.get(address, headers=headers) as answer:
                    return int(answer.status)

            assert await status(url) == 200
            assert await status(url, Origin=own) == 200
            assert await status(f"{url}static/js/textual.js") == 200
            for address in (f"{own}/", f"{own}/ws", f"{own}/static/js/textual.js", f"{url[:-2]}/", f"{own}/x/../"):
                assert await status(address) == 403, address
            assert await status(url, Origin="http://evil.example") == 403
            assert await status(url, Origin="null") == 403
            assert await status(url, Host="evil.example") == 403, "a name that its owner lets resolve to 127.0.0.1"
            assert await status(url, Host=f"evil.example:{own.rpartition(':')[2]}") == 403
            for headers in ({"Origin": "http://evil.example"}, {}, {"Origin": own, "Host": "evil.example"}):
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await client.ws_connect(socket_of(url), headers=headers)
                assert refused.value.status == 403
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await client.ws_connect(f"{own.replace('http', 'ws', 1)}/ws", headers={"Origin": own})
            assert refused.value.status == 403
            async with client.get(url) as answer:
                text = await answer.text()
                assert answer.headers["Referrer-Policy"] == "no-referrer"
                assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
                assert socket_of(url).partition("?")[0] in text, "the page knows where its room is"


@pytest.mark.usefixtures("recorded_runs")
async def test_a_page_has_a_read_only_room_that_ends_with_it(runs_file: RunsFile) -> None:
    with serving(runs_file, "--sessions", "1") as (url, server):
        async with aiohttp.ClientSession() as client:
            headers = {"Origin": origin_of(url)}
            async with client.ws_connect(socket_of(url), headers=headers) as socket:
                assert "READ-ONLY" in await first_screen(socket)
                rooms = server.children(recursive=True)
                assert len(rooms) == 1, "the room itself, without a shell in between"
                assert "--readonly" in rooms[0].cmdline()
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await client.ws_connect(socket_of(url), headers=headers)
                assert refused.value.status == 503
                await socket.send_json(["stdin", "T"])
            await until(lambda: not rooms[0].is_running(), "the room's end")
            assert len(list_runs(runs_file.runs_dir)) == 2, "nothing was started"
            async with client.ws_connect(socket_of(url), headers=headers) as socket:
                await first_screen(socket)  # there is room again


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
async def test_nothing_is_left_behind_however_the_server_ends(runs_file: RunsFile, number: signal.Signals) -> None:
    with serving(runs_file, "--allow-actions") as (url, server):
        async with aiohttp.ClientSession() as client:
            sockets = [await client.ws_connect(socket_of(url), headers={"Origin": origin_of(url)}) for _ in range(2)]
            # at once: the server lets go of a page that does not answer its pings
            assert not any("READ-ONLY" in drawn for drawn in await asyncio.gather(*map(first_screen, sockets)))
            rooms = server.children(recursive=True)
            assert len(rooms) == 2
            assert all("--readonly" not in room.cmdline() for room in rooms)
            os.kill(server.pid, number)
            await until(lambda: not any(room.is_running() for room in rooms), "the rooms' end")


def test_a_port_that_is_taken_is_named(runs_file: RunsFile) -> None:
    with serving(runs_file) as (url, _):
        port = origin_of(url).rpartition(":")[2]
        done = CliRunner().invoke(main, ["serve", "--config", runs_file.path, "--port", port])
    assert done.exit_code == 2
    assert f"--port {port}: Address already in use" in done.stderr


def test_without_textual_serve_the_verb_says_what_to_install(
    runs_file: RunsFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verbs_serve, "find_spec", lambda name: None)
    done = CliRunner().invoke(main, ["serve", "--config", runs_file.path])
    assert done.exit_code == 2
    assert "pip install 'lvm-tui[web]'" in done.stderr


class Page:
    """A page of a headless browser, through its debugging socket."""

    def __init__(self, socket: Any) -> None:
        """A page that is open."""
        self._socket = socket
        self._number = 0

    async def call(self, method: str, **params: object) -> dict[str, Any]:
        """Have the browser do something; its answer."""
        self._number += 1
        await self._socket.send_str(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            answer = json.loads((await asyncio.wait_for(self._socket.receive(), 60)).data)
            if answer.get("id") == self._number:
                return dict(answer["result"])

    async def ask(self, expression: str) -> Any:
        """The value of an expression in the page."""
        return (await self.call("Runtime.evaluate", expression=expression))["result"].get("value")

    async def wait(self, expression: str) -> None:
        """Wait until an expression is true in the page."""
        for _ in range(600):
            if await self.ask(expression):
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"not within 60 s: {expression}")


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="NO BROWSER: install chromium to see the room in a real one")
@pytest.mark.usefixtures("recorded_runs")
async def test_a_real_browser_shows_the_room_and_its_keys_reach_it(runs_file: RunsFile, tmp_path: Path) -> None:
    assert BROWSER is not None
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--window-size=1400,900"]
    with serving(runs_file) as (url, server):
        browser = subprocess.Popen(
            [BROWSER, *flags, f"--user-data-dir={tmp_path / 'profile'}", url],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            port_file = tmp_path / "profile" / "DevToolsActivePort"
            await until(lambda: port_file.exists() and port_file.read_text().count("\n"), "the browser")
            port = port_file.read_text().split("\n")[0]
            async with aiohttp.ClientSession() as client:
                pages: list[dict[str, str]] = []
                while not pages:
                    async with client.get(f"http://127.0.0.1:{port}/json") as answer:
                        pages = [page for page in await answer.json() if page["url"] == url]
                async with client.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    page = Page(socket)
                    await page.wait("document.body.classList.contains('-first-byte')")
                    assert server.children(recursive=True)
                    await page.ask("document.querySelector('textarea').focus()")
                    key = {"key": "q", "code": "KeyQ", "text": "q", "windowsVirtualKeyCode": ord("Q")}
                    await page.call("Input.dispatchKeyEvent", type="keyDown", **key)
                    await page.call("Input.dispatchKeyEvent", type="keyUp", **key | {"text": ""})
                    await page.wait("document.body.classList.contains('-closed')")
                    await until(lambda: not server.children(recursive=True), "the room's end")
        finally:
            browser.kill()
            browser.wait()
