"""The web example in a browser: what a person sees of deployments that succeed, fail and survive a restart."""

import subprocess
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from selenium import webdriver
from selenium.common.exceptions import ElementClickInterceptedException, TimeoutException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait
from selenium_axe_python import Axe

from scripts.pictures import take
from tests.engine.clone import Clone, free_port
from tests.waiting import SECONDS

CLICK_SECONDS = 10
PHONE = {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": False}


class Page:
    """The page of the service that runs in a clone."""

    def __init__(self, clone: Clone, browser: webdriver.Chrome) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self.browser = browser
        self._clone = clone
        self.start()

    def start(self) -> None:
        """Start the service and open its page."""
        command = f'eval "$(make -s env)" && exec hypercorn --bind {self.address} examples.web.app:app'
        self._service = subprocess.Popen(["bash", "-c", command], cwd=self._clone.root, env=self._clone.env)
        WebDriverWait(self._service, SECONDS).until(lambda _: answers(f"http://{self.address}/"))
        self.browser.get(f"http://{self.address}/")

    def stop(self) -> None:
        """End the service."""
        # An open event stream would keep the service running.
        self.browser.get("about:blank")
        self._service.terminate()
        self._service.wait()

    def deploy(self, name: str, folder: str, memory: int) -> None:
        """Fill in the form, and send it with the Enter key."""
        for field, value in (("name", name), ("context", folder), ("memory", str(memory))):
            box = self.browser.find_element(By.ID, field)
            box.clear()
            box.send_keys(value)
        box.send_keys(Keys.ENTER)

    def slot(self, name: str) -> str:
        """A text on the card of `hello`; empty if there is none."""
        script = f"return document.querySelector('#function-hello [data-slot={name}]')?.innerText ?? ''"
        return str(self.browser.execute_script(script))

    def wait_for_run(self, said: str) -> None:
        WebDriverWait(self, SECONDS).until(lambda _: self.slot("run").startswith(said))

    def wait_for_text(self, element: str, text: str) -> None:
        WebDriverWait(self, SECONDS).until(lambda _: text in self.browser.find_element(By.ID, element).text)

    def open_log(self) -> None:
        """Open the log. A click is lost if the page draws the function again at that moment."""
        dialog = self.browser.find_element(By.ID, "logs")

        def is_open(_: object) -> bool:
            return bool(dialog.get_property("open"))

        def opened(_: object) -> bool:
            if not is_open(_):
                self.button("logs").click()
            return WebDriverWait(self, CLICK_SECONDS).until(is_open)

        lost = [ElementClickInterceptedException, TimeoutException]
        WebDriverWait(self, SECONDS, ignored_exceptions=lost).until(opened)

    def steps(self) -> list[str]:
        """The steps of the running operation so far, from the open list."""
        return list(self.browser.execute_script("return [...document.querySelectorAll('li')].map(li => li.innerText)"))

    def button(self, act: str) -> WebElement:
        return self.browser.find_element(By.CSS_SELECTOR, f"#function-hello [data-act={act}]")

    def require_accessible(self) -> None:
        """Check with axe-core in light and dark mode, and check that the page fits a phone's width."""
        for scheme in ("light", "dark"):
            media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
            self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
            axe = Axe(self.browser)
            axe.inject()
            faults: list[Any] = axe.run()["violations"]
            assert not faults, axe.report(faults)
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
        assert self.browser.execute_script("return document.documentElement.scrollWidth") <= PHONE["width"]
        self.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.fixture
def page(empty: Clone, browser: webdriver.Chrome) -> Iterator[Page]:
    """The page of the service in a clone with an empty local cloud."""
    page = Page(empty, browser)
    yield page
    page.stop()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310
            return bool(answer.read())
    except OSError:
        return False


def test_functions_are_deployed_rolled_back_and_deleted_in_the_browser(page: Page, empty: Clone) -> None:
    page.wait_for_text("empty", "No functions yet")
    page.require_accessible()
    page.deploy("hello", "docs", 256)
    page.wait_for_text("refused", "Folder: 'docs' has no Dockerfile; an example of a folder with one is app.")

    # The steps so far are shown after a reload.
    page.deploy("hello", "app", 256)
    WebDriverWait(page, SECONDS).until(lambda _: page.steps())
    before = page.steps()
    page.browser.refresh()
    WebDriverWait(page, SECONDS).until(lambda _: page.steps()[: len(before)] == before)
    assert page.slot("now").startswith("Deploying, ")
    page.deploy("hello", "app", 256)
    page.wait_for_text("refused", "hello is busy (deploy). Wait until that has ended.")
    page.require_accessible()

    page.wait_for_run("Deploy succeeded after")
    assert page.slot("service") == "Answers"
    assert page.slot("memory") == "256 MB"
    assert page.browser.find_element(By.ID, "registry-account").text == "111111111111"
    assert page.browser.find_element(By.ID, "functions-title").text == "Functions in account 222222222222"
    code = empty.client("consumer", "lambda").get_function(FunctionName="hello")["Code"]
    good = page.slot("image")
    assert code["ImageUri"].partition("@sha256:")[2].startswith(good)
    endpoint = page.slot("endpoint")
    assert empty.get_url(endpoint) == (200, {"message": "hello world!"})

    # The page reports a broken image, and callers keep the previous one.
    empty.edit("app/app.py", "    return {", "    raise RuntimeError(event)\n    return {")
    page.button("redeploy").click()
    page.wait_for_run("Deploy failed after")
    # The service shows both after a restart.
    page.stop()
    page.start()
    page.wait_for_run("Deploy failed after")
    assert page.slot("service") == "Answers"
    assert page.slot("error").startswith("RuntimeError: {'httpMethod': 'GET', 'path': '/hello'}\n")
    assert empty.get_url(endpoint) == (200, {"message": "hello world!"})
    take(page.browser, "web")
    page.require_accessible()

    page.open_log()
    page.wait_for_text("log", "RuntimeError")
    page.require_accessible()
    page.browser.find_element(By.ID, "log").send_keys(Keys.ESCAPE)

    empty.restore()
    empty.edit("app/app.py", "hello world!", "hello again!")
    page.button("redeploy").click()
    page.wait_for_run("Deploy succeeded after")
    assert empty.get_url(endpoint) == (200, {"message": "hello again!"})
    assert page.slot("previous") == good
    page.button("rollback").click()
    page.wait_for_run("Rollback succeeded after")
    assert empty.get_url(endpoint) == (200, {"message": "hello world!"})
    assert page.slot("image") == good

    # The page asks for confirmation, and Enter declines.
    page.button("delete").send_keys(Keys.ENTER)
    page.wait_for_text("confirm", "Delete hello?")
    page.require_accessible()
    page.browser.switch_to.active_element.send_keys(Keys.ENTER)
    dialog = "const dialog = document.getElementById('confirm'); return [dialog.open, dialog.returnValue]"
    assert page.browser.execute_script(dialog) == [False, ""]
    page.button("delete").click()
    page.browser.find_element(By.CSS_SELECTOR, "#confirm .danger").click()
    page.wait_for_text("empty", "No functions yet")
    assert empty.client("consumer", "lambda").list_functions()["Functions"] == []
