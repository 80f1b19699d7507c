"""A headless Chromium as a user of Airflow's UI. Needs Debian's chromium."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, sync_playwright

from tests.support.unpacked import without

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
#: rules of WCAG 2.2, levels A and AA, and best practice, within the page; the rest is Airflow's
_AXE = """async () => {
  const found = await axe.run(document.querySelector("dialog[open]") ?? ".rr-page", {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
  });
  const told = (n) => [n.html.slice(0, 200), n.failureSummary];
  return found.violations.map((v) => ({ id: v.id, nodes: v.nodes.slice(0, 5).map(told) }));
}"""
_WIDE = """() => {
  const end = document.querySelector(".rr-page").getBoundingClientRect().right + 1;
  const wide = [...document.querySelectorAll(".rr-page *")].filter((e) => e.getBoundingClientRect().right > end);
  const told = (e) => [e.nodeName, e.getAttribute("class"), e.textContent.slice(0, 80)];
  return wide.filter((e) => !e.closest(".rr-scroll")).slice(0, 10).map(told);
}"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the browser; ``RR_WITHOUT=chromium`` skips the test."""
    if without("chromium"):
        pytest.skip("RR_WITHOUT=chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Visitor:
    """A user who is logged in.

    :param url: Airflow's URL. :param theme: ``light`` or ``dark``, as in Airflow's menu.
    :ivar troubles: errors on the browser's console, and exceptions of pages.
    """

    def __init__(
        self,
        browser: Browser,
        url: str,
        user: str,
        password: str,
        *,
        theme: str = "light",
        width: int = 1440,
    ) -> None:
        self.url = url
        self.troubles: list[str] = []
        self.context: BrowserContext = browser.new_context(
            viewport={"width": width, "height": 900}, reduced_motion="reduce", timezone_id="UTC"
        )
        self.context.add_init_script(f"localStorage.setItem('theme', '{theme}')")
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("console", self._note)
        self.page.on("dialog", self._dismiss)
        self.page.goto(f"{url}/auth/login")
        self.page.fill("input[name=username]", user)
        self.page.fill("input[name=password]", password)
        self.page.click("button[type=submit]")
        self.page.wait_for_url(lambda at: "/auth/login" not in at)

    def _dismiss(self, box: Dialog) -> None:
        self.troubles.append(f"a box says {box.message}")
        box.dismiss()

    def _note(self, message: Any) -> None:
        if message.type == "error" and "restore-replay" in f"{message.text} {message.location}":
            self.troubles.append(message.text)

    def open(self, *parts: str) -> Page:
        """Open a view of the Backups page, and wait for what it shows."""
        self.page.goto(f"{self.url}/plugin/backups#/{'/'.join(parts)}")
        self.settle()
        return self.page

    def settle(self) -> None:
        """Wait until the page reads nothing for the first time."""
        self.page.wait_for_selector(".rr-page h1")
        self.page.wait_for_selector(".rr-loading", state="detached")

    def complaints(self) -> list[Any]:
        """Return what axe complains about."""
        script = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()
        self.page.evaluate(script)
        return list(self.page.evaluate(_AXE))

    def overflow(self) -> list[Any]:
        """Return elements that are wider than the page's place, but for those that scroll."""
        return list(self.page.evaluate(_WIDE))

    def close(self) -> None:
        self.context.close()
