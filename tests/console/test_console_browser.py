"""The console in a real browser: it looks right at every width, is used by keyboard, and keeps itself up to date.

Chromium is looked up on PATH; the run's last lines tell whether it was found.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from builders.browser import Chromium, Page, find_chromium

Serve = Callable[..., Awaitable[Any]]
Eventually = Callable[..., Awaitable[Any]]

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="no Chromium on PATH")

PATHS = {
    "the list": "/",
    "a queue": "/queues/shop/emails",
    "dead letters": "/queues/shop/emails/dead-letters",
    "a job": "/queues/shop/emails/job?id=lost-1",
    "the sign-in": "/login",
    "an error": "/nowhere",
}
CHANGED = {name: PATHS[name] for name in ("dead letters", "a job")}
"""Those that have more for who has signed in."""
PICTURES = os.environ.get("ARQUBE_CONSOLE_PICTURES")
"""A folder for pictures of the pages, to be looked at."""

# Rules that any page must keep; each gives what breaks it. Sources: WCAG 2.2, 1.3.1, 1.4.3, 2.4.2, 2.5.8, 3.1.1, 4.1.2.
RULES = {
    "the language and the title are told": "document.documentElement.lang && document.title ? [] : ['missing']",
    "there is one main heading": "document.querySelectorAll('h1').length === 1 ? [] : ['h1']",
    "no level of headings is left out": """(() => {
        const levels = [...document.querySelectorAll('h1,h2,h3')].map((each) => +each.tagName[1]);
        return levels.filter((level, at) => level - (levels[at - 1] ?? 0) > 1);
    })()""",
    "there are a header and a main part": "['header', 'main'].filter((name) => !document.querySelector(name))",
    "an id is used once": """(() => {
        const ids = [...document.querySelectorAll('[id]')].map((each) => each.id);
        return ids.filter((id, at) => ids.indexOf(id) !== at);
    })()""",
    "a reference to an id leads somewhere": """
        [...document.querySelectorAll('[aria-labelledby],[aria-describedby],label[for]')]
            .flatMap((each) => ['aria-labelledby', 'aria-describedby', 'for'].map((name) => each.getAttribute(name)))
            .filter((id) => id && !document.getElementById(id))""",
    "all that can be used has a name": """
        [...document.querySelectorAll('a,button,input:not([type=hidden]),select,meter,svg:not([aria-hidden])')]
            .filter((each) => !(each.labels?.length || each.getAttribute('aria-label') || each.textContent.trim()))
            .map((each) => each.outerHTML)""",
    "a table has a caption, and its heads a scope": """
        [...document.querySelectorAll('table')]
            .filter((each) => !each.caption || each.querySelector('th:not([scope])')).map((each) => each.outerHTML)""",
    "nothing stands out of the page": """
        document.documentElement.scrollWidth <= innerWidth ? [] : [document.documentElement.scrollWidth]""",
    "what is pressed is large enough": """
        [...document.querySelectorAll('button,.button,input:not([type=hidden]):not([type=checkbox]),select')]
            .filter((each) => each.checkVisibility() && each.getBoundingClientRect().height < 24)
            .map((each) => each.outerHTML)""",
    "text stands out from its background": """(() => {
        const parse = (color) => (color.match(/[\\d.]+/g) ?? []).map(Number);
        const light = ([red, green, blue]) => [red, green, blue]
            .map((part) => part / 255)
            .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
            .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
        const back = (element) => {
            for (let each = element; each; each = each.parentElement) {
                const color = parse(getComputedStyle(each).backgroundColor);
                if (color.length === 3 || color[3] > 0.99) return color;
            }
            return [255, 255, 255];
        };
        const bad = new Set();
        const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        while (walker.nextNode()) {
            const element = walker.currentNode.parentElement;
            if (!walker.currentNode.textContent.trim() || element.closest('svg,option')) continue;
            if (!element.checkVisibility()) continue;
            const [one, other] = [light(parse(getComputedStyle(element).color)), light(back(element))];
            const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
            if (contrast < 4.5) bad.add(`${element.className} ${element.tagName} ${contrast.toFixed(2)}`);
        }
        return [...bad];
    })()""",
}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    binary = find_chromium()
    assert binary is not None
    with Chromium(binary) as running:
        yield running


@pytest_asyncio.fixture
async def page(chromium: Chromium) -> AsyncIterator[Page]:
    async with chromium.tab() as opened:
        yield opened


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1280, 860), (360, 740)], ids=["a desk", "a phone"])
async def test_pages_keep_the_rules_of_access(
    busy_shop: Any, serve: Serve, token_file: Path, page: Page, width: int, height: int, dark: bool
) -> None:
    await busy_shop.bury("x" * 70, error="y" * 300, function="z" * 80)
    visit = await serve(token_file)
    await page.look(width, height, dark=dark)
    broken = {}
    for signed_in in (False, True):
        if signed_in:
            await sign_in(page, visit)
        for name, path in (CHANGED if signed_in else PATHS).items():
            await page.open(f"{visit.url}{path}")
            found = {rule: offenders for rule, script in RULES.items() if (offenders := await page.run(script))}
            broken |= {(name, rule): offenders for rule, offenders in found.items()}
            if PICTURES:
                scheme, who = "dark" if dark else "light", "writer" if signed_in else "reader"
                await page.picture(Path(PICTURES, f"{name}-{width}-{scheme}-{who}.png".replace(" ", "-")), whole=True)
    assert broken == {}
    assert [each for each in page.complaints if "404" not in each] == [], "the page of an error is one"


async def sign_in(page: Page, visit: Any) -> None:
    await page.open(f"{visit.url}/login")
    await page.run(f"document.querySelector('#token').value = '{visit.token}'")
    await page.click("main button")


async def test_a_dead_letter_is_put_back_with_the_keyboard_alone(
    busy_shop: Any, serve: Serve, token_file: Path, page: Page
) -> None:
    visit = await serve(token_file)
    await page.look(1280, 860)
    await sign_in(page, visit)
    await page.open(f"{visit.url}/queues/shop/emails/job?id=lost-1")
    focused = []
    for _ in range(20):
        await page.press("Tab", 9)
        focused.append(await page.run("document.activeElement.textContent.trim()"))
        assert await page.run("getComputedStyle(document.activeElement).outlineStyle") == "solid", focused
        if focused[-1] == "Retry":
            break
    assert focused[0] == "Skip to the content"
    async with page.navigation():
        await page.press("Enter", 13)

    assert await busy_shop.redis.zscore("arq:emails", "lost-1") is not None
    assert await page.run("document.body.textContent.includes('1 put back.')")
    assert page.complaints == []


async def test_the_first_link_leads_past_the_head(busy_shop: Any, serve: Serve, page: Page) -> None:
    visit = await serve()
    await page.open(f"{visit.url}/")
    await page.press("Tab", 9)
    assert await page.run("document.activeElement.getBoundingClientRect().top") >= 0, "it shows"
    await page.press("Enter", 13)
    assert await page.run("document.activeElement.id") == "content"


async def test_a_page_keeps_itself_up_to_date_and_leaves_the_focus(
    busy_shop: Any, serve: Serve, page: Page, eventually: Eventually
) -> None:
    visit = await serve()
    await page.open(f"{visit.url}/")
    await page.run("document.querySelector('tbody a').focus(); window.same = true")
    await busy_shop.redis.zadd("arq:emails", {f"new-{number}": 1000 for number in range(1000)})

    await eventually(lambda: page.run("document.querySelector('#list').textContent.includes('1,203')"), within_s=30)

    assert await page.run("window.same"), "the page was not loaded anew"
    assert await page.run("document.activeElement.getAttribute('href')") == "/queues/shop/emails"
    assert page.complaints == []


async def test_updates_can_be_paused_and_troubles_are_told(
    busy_shop: Any, serve: Serve, page: Page, eventually: Eventually
) -> None:
    visit = await serve()
    await page.open(f"{visit.url}/queues/shop/emails")
    state = "document.querySelector('[data-live-state]').textContent"
    await page.run("document.querySelector('[data-live-toggle]').click()")
    assert "Paused" in await page.run(state)
    await page.run("document.querySelector('[data-live-toggle]').click()")
    visit.console.view = None  # as when another operator leads

    await eventually(lambda: page.run(f"{state}.startsWith('No answer')"), within_s=30)
    assert await page.run("document.querySelector('h1').textContent") == "emails", "what was there stays"


async def test_what_others_wrote_runs_nowhere(scene: Any, serve: Serve, page: Page) -> None:
    attack = "<img src=x onerror='window.hit=1'><script>window.hit=1</script>"
    scene.task_queue()
    await scene.bury(attack, function=attack, error=attack, traceback=attack, worker=attack)
    await scene.read()
    visit = await serve()
    for path in ("/", "/queues/shop/emails", "/queues/shop/emails/dead-letters"):
        await page.open(f"{visit.url}{path}")
        assert await page.run("window.hit === undefined")
    await page.click("tbody a")
    assert await page.run("document.querySelector('h1').textContent") == attack
    assert await page.run("window.hit === undefined && document.images.length === 0")
    assert page.complaints == []
