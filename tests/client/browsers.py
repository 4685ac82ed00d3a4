"""What a person does in the browser that the client opens for a login."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import unescape
from urllib.parse import urlsplit

import httpx

from client.suite import PASSWORD


@dataclass
class Person:
    """Somebody who answers the controller's question, and passport's login page after a yes."""

    username: str
    password: str = PASSWORD
    answer: str = "yes"

    async def __call__(self, url: str) -> None:
        """Visit `url` and go on until there is nothing more to do."""
        async with httpx.AsyncClient(follow_redirects=True, trust_env=False) as browser:
            page = await browser.get(url)
            assert page.status_code == 200, page.text
            page = await _submit(browser, page, answer=self.answer)
            if self.answer == "yes":
                await _submit(browser, page, username=self.username, password=self.password)


async def _submit(browser: httpx.AsyncClient, page: httpx.Response, **fields: str) -> httpx.Response:
    """Send the form of a page with its hidden fields."""
    hidden = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page.text)
    form = {name: unescape(value) for name, value in hidden} | fields
    here = urlsplit(str(page.url))
    origin = f"{here.scheme}://{here.netloc}"
    return await browser.post(f"{origin}{here.path}", data=form, headers={"origin": origin})
