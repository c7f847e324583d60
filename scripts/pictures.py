"""Write the pictures of `docs/images/`.

python -m scripts.pictures                                       the preview comment, as the engine test compares it
PICTURES=1 python3 -m local test tests/engine/test_web_example.py    the web example, while its test runs
"""

import os
import tempfile
from pathlib import Path

from markdown_it import MarkdownIt
from selenium import webdriver

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
COMMENT = ROOT / "tests" / "engine" / "comment.md"
WIDTH = 900
# The look of a comment on GitHub.
STYLE = """
body { margin: 0; padding: 16px 24px; font: 14px/1.5 system-ui, sans-serif; color: #1f2328; background: #fff; }
h3 { font-size: 18px; } h4 { font-size: 15px; } h3, h4 { margin: 16px 0 8px; }
table { border-collapse: collapse; margin: 8px 0 16px; } td, th { border: 1px solid #d1d9e0; padding: 4px 12px; }
th { font-weight: 600; } tr:nth-child(2n) { background: #f6f8fa; }
code { font: 12px ui-monospace, monospace; background: #eff1f3; padding: 2px 5px; border-radius: 5px; }
"""


def chromium(profile: Path) -> webdriver.Chrome:
    """Chromium without a window; `profile` is a folder for its files."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    # Chromium's sandbox does not work for root. The pages are our own.
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", f"--user-data-dir={profile}"):
        options.add_argument(argument)
    return webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))


def take(browser: webdriver.Chrome, name: str) -> None:
    """Save the whole page as `docs/images/NAME.png`, if `PICTURES` is set."""
    if "PICTURES" not in os.environ:
        return
    IMAGES.mkdir(exist_ok=True)
    size = browser.get_window_size()
    browser.set_window_size(WIDTH, 200)
    height = browser.execute_script("return document.documentElement.scrollHeight")
    # The window's frame is part of its size.
    browser.set_window_size(WIDTH, height + 200 - browser.execute_script("return innerHeight"))
    browser.save_screenshot(str(IMAGES / f"{name}.png"))
    browser.set_window_size(size["width"], size["height"])


def main() -> None:
    """Draw the comment."""
    os.environ["PICTURES"] = "1"
    body = MarkdownIt("commonmark", {"html": True}).enable("table").render(COMMENT.read_text())
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "comment.html"
        page.write_text(f"<!doctype html><meta charset=utf-8><style>{STYLE}</style>{body}")
        browser = chromium(Path(folder) / "profile")
        try:
            browser.get(page.as_uri())
            take(browser, "comment")
        finally:
            browser.quit()


if __name__ == "__main__":
    main()
