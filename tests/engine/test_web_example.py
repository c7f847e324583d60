"""The web example, in a browser: both stacks are deployed, progress is seen, a broken image gets no call."""

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.engine.clone import Clone, free_port

DEPLOY_SECONDS = 180
PAGE_SECONDS = 30


@pytest.fixture
def page(empty: Clone, browser: webdriver.Chrome) -> Iterator[webdriver.Chrome]:
    """The page of the service, which runs in a clone where nothing is deployed."""
    address = f"127.0.0.1:{free_port()}"
    command = f'eval "$(make -s env)" && exec hypercorn --bind {address} examples.web.app:app'
    with subprocess.Popen(["bash", "-c", command], cwd=empty.root, env=empty.env) as service:
        WebDriverWait(service, PAGE_SECONDS).until(lambda _: answers(f"http://{address}/"))
        browser.get(f"http://{address}/")
        yield browser
        service.terminate()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:
        return False


def deploy(page: webdriver.Chrome, name: str, folder: str) -> None:
    for field, value in (("name", name), ("context", folder)):
        box = page.find_element(By.NAME, field)
        box.clear()
        box.send_keys(value)
    page.find_element(By.CSS_SELECTOR, "form button").click()


def row(page: webdriver.Chrome, name: str) -> list[str]:
    """The cells of a function's row, read at once: the page writes a row anew with every event."""
    cells = f"document.querySelectorAll('#function-{name} td')"
    return list(page.execute_script(f"return [...{cells}].map(cell => cell.innerText)"))


def wait_for(page: webdriver.Chrome, name: str, state: str) -> None:
    WebDriverWait(page, DEPLOY_SECONDS).until(lambda _: row(page, name)[1:2] == [state])


def test_functions_are_deployed_and_deleted_in_the_browser(page: webdriver.Chrome, empty: Clone) -> None:
    deploy(page, "hello", "app")
    wait_for(page, "hello", "ready")
    assert page.find_element(By.ID, "registry-account").text == "111111111111"
    assert page.find_element(By.ID, "consumer-account").text == "222222222222"
    digest = empty.client("consumer", "lambda").get_function(FunctionName="hello")["Code"]["ImageUri"].partition("@")[2]
    assert digest.startswith(row(page, "hello")[2])
    assert "lambda/function:Function" in page.find_element(By.ID, "progress").text
    endpoint = page.find_element(By.CSS_SELECTOR, "#function-hello a").get_attribute("href")
    assert empty.get_url(str(endpoint)) == (200, {"message": "hello world!"})

    # A broken image: said on the page, and callers keep what they have.
    empty.edit("app/app.py", "    return {", "    raise RuntimeError(event)\n    return {")
    deploy(page, "hello", "app")
    wait_for(page, "hello", "failed")
    assert "RuntimeError" in page.find_element(By.ID, "problem").text
    assert empty.get_url(str(endpoint)) == (200, {"message": "hello world!"})

    page.find_element(By.CSS_SELECTOR, "#function-hello button").click()
    WebDriverWait(page, DEPLOY_SECONDS).until(lambda _: not row(page, "hello"))
    assert empty.client("consumer", "lambda").list_functions()["Functions"] == []


def test_a_name_that_lambda_refuses_is_refused_by_the_service(page: webdriver.Chrome) -> None:
    request = urllib.request.Request(  # noqa: S310
        f"{page.current_url}api/functions/Not%20a%20name", data=json.dumps({}).encode(), method="PUT"
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=5)  # noqa: S310
    assert refused.value.code == 422
