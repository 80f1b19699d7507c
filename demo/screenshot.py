"""A picture of a DAG's grid, as a browser shows it. Needs Debian's chromium."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, sync_playwright

_CHROMIUM = "/usr/bin/chromium"
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def photograph(url: str, password: str, dag_id: str, target: Path) -> None:
    """Log in and save a picture of the DAG's grid with its task groups open."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=_FLAGS)
        page = browser.new_page(viewport={"width": 1400, "height": 700}, device_scale_factor=1)
        page.goto(f"{url}/auth/login")
        page.fill("input[name=username]", "admin")
        page.fill("input[name=password]", password)
        page.click("button[type=submit]")
        page.wait_for_url(lambda at: "/auth/login" not in at)
        page.goto(f"{url}/dags/{dag_id}")
        page.wait_for_selector("text=release_lease", timeout=60_000)
        page.get_by_label("Expand all task groups").first.click()
        _widen_the_grid(page)
        page.wait_for_timeout(4000)
        target.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=target)
        browser.close()


def _widen_the_grid(page: Page) -> None:
    handle = page.locator(
        "[data-panel-resize-handle-id], [data-separator], [role=separator]"
    ).first.bounding_box()
    if handle is None:
        return
    x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] * 0.8
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 130, y, steps=10)
    page.mouse.up()
