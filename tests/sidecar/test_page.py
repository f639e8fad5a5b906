"""The page, in a real browser (Debian's Chromium, which is installed if it is missing)."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from .service import ROOT, TOKENS, Service

sys.path.insert(0, str(ROOT / "tests" / "images"))

from testbed import engine


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not shutil.which("chromium"):
        engine.install(["chromium"])
    with sync_playwright() as playwright:
        # Chromium's own sandbox needs privileges that containers lack. It opens only our page.
        started = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def complaints() -> list[str]:
    return []


@pytest.fixture
def page(browser: Browser, sidecar: Service, complaints: list[str]) -> Iterator[Page]:
    opened = browser.new_page(base_url=sidecar.url)
    opened.set_default_timeout(30000)
    expect.set_options(timeout=30000)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    opened.goto("/")
    yield opened
    opened.close()


def enter(page: Page, token: str = TOKENS["admin"]) -> None:
    """Sign in with a token."""
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()


def test_page_shows_instances_environments_and_jobs(
    page: Page, sidecar: Service, complaints: list[str], tmp_path: Path
) -> None:
    sidecar.world.set(options={"seconds": {"launch": 4}}, web="Running", db="Stopped", old="Deleted")
    sidecar.http.put(
        "/environments/shop", json={"description": "<b>web</b> & db", "instances": [{"name": "web"}, {"name": "db"}]}
    )
    expect(page.get_by_role("heading", name="Instances")).to_be_hidden()
    enter(page)
    rows = page.locator("#instances tr")
    expect(rows).to_have_count(3)
    expect(rows.nth(2)).to_contain_text("webRunning10.21.77.10Ubuntu 24.04 LTS")
    environment = page.locator("#environments tr")
    # As text: what the service returns is not HTML.
    expect(environment).to_contain_text("<b>web</b> & db")
    expect(environment).to_contain_text("partial")
    expect(page.locator("#health")).to_have_text("multipass 1.16.3 works")
    page.get_by_label("Name", exact=True).fill("fresh")
    page.get_by_label("cloud-init").fill("#cloud-config\n")
    page.get_by_role("button", name="Launch").click()
    job = page.locator("#jobs tr", has_text="launch fresh")
    expect(job).to_contain_text(re.compile(r"Retrieving image: \d+%"))
    expect(job.locator("progress")).to_have_attribute("value", re.compile(r"[1-9]"))
    page.screenshot(path=tmp_path / "launch.png", full_page=True)
    expect(job).to_contain_text("succeeded")
    expect(page.locator("#instances tr", has_text="fresh")).to_contain_text("Running")
    job.get_by_role("button", name="Log").click()
    expect(job.locator("pre")).to_contain_text("Launched: fresh")
    environment.get_by_role("button", name="Start").click()
    expect(environment).to_contain_text("running")
    assert sidecar.world.states()["db"] == "Running"
    page.locator("#instances tr", has_text="fresh").get_by_role("button", name="Stop").click()
    expect(page.locator("#instances tr", has_text="fresh")).to_contain_text("Stopped")
    page.on("dialog", lambda dialog: dialog.accept())
    page.locator("#instances tr", has_text="fresh").get_by_role("button", name="Delete").click()
    expect(page.locator("#instances tr", has_text="fresh")).to_have_count(0)
    sidecar.http.delete("/environments/shop")
    assert complaints == []


def test_page_shows_failures(page: Page, sidecar: Service, tmp_path: Path) -> None:
    fault = {"code": 2, "stderr": "launch failed: The following errors occurred:\nno <b>KVM</b> here"}
    sidecar.world.set(options={"faults": {"launch": [fault]}}, web="Running")
    enter(page)
    page.get_by_label("Name", exact=True).fill("fails")
    page.get_by_role("button", name="Launch").click()
    job = page.locator("#jobs tr", has_text="launch fails")
    expect(job.locator(".problem")).to_contain_text("no <b>KVM</b> here")
    expect(job).to_contain_text("failed")
    # An immediate refusal is shown above everything.
    page.get_by_label("Name", exact=True).fill("web")
    page.get_by_role("button", name="Launch").click()
    expect(page.get_by_role("alert")).to_have_text("instance web already exists")
    page.screenshot(path=tmp_path / "failure.png", full_page=True)
    sidecar.world.set(options={"faults": {"list": [{"code": 3, "stderr": "list failed: no socket"}] * 1000}})
    expect(page.locator("#health")).to_contain_text("no socket")


def test_page_asks_for_a_token_and_forgets_it(page: Page, browser: Browser, sidecar: Service) -> None:
    sidecar.world.set(web="Running")
    enter(page, "wrong")
    expect(page.get_by_role("alert")).to_contain_text("token is wrong")
    expect(page.locator("#all")).to_be_hidden()
    enter(page, TOKENS["read"])
    expect(page.locator("#instances tr")).to_contain_text("web")
    page.locator("#instances").get_by_role("button", name="Stop").click()
    expect(page.get_by_role("alert")).to_contain_text("needs operate")
    page.reload()
    expect(page.locator("#instances tr")).to_contain_text("web")
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
    # The token belongs to this tab only.
    other = browser.new_page(base_url=sidecar.url)
    other.goto("/")
    expect(other.get_by_label("Token")).to_be_visible()
    other.close()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Token")).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0
    assert "web" not in page.content()
