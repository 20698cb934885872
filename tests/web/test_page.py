"""The page: what it is made of, and what a person with a browser, a keyboard or a phone can do with it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from glta_cli.answers.question import WISH_WEIGHT
from glta_cli.web.page import FILES

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
EVIL = '<img src=x onerror="window.harmed = true">'


# -------------------------------------------------------------------------------------------------- its files


def test_it_is_given_with_a_policy_that_lets_nothing_else_in(client: TestClient) -> None:
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    for path in ("/", *(f"/page/{file.name}" for file in FILES.iterdir())):
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.get("/page/nothing.js").status_code == 404
    assert client.get("/page/..%2Fapp.py").status_code == 404


def test_it_names_no_other_host_and_has_no_script_or_style_of_its_own_inside() -> None:
    for file in FILES.iterdir():
        text = file.read_text(encoding="utf-8")
        addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text)) - {"http://www.w3.org"}
        assert not addresses, (file.name, addresses)
    page = (FILES / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! type=\"module\" src)", page)
    assert not any("innerHTML" in file.read_text(encoding="utf-8") for file in FILES.glob("*.js"))


def test_a_wish_weighs_there_what_it_does_elsewhere() -> None:
    page = (FILES / "index.html").read_text(encoding="utf-8")
    [weight] = re.findall(r'<input id="weight"[^>]* value="([\d.]+)"', page)
    assert float(weight) == WISH_WEIGHT


def test_without_a_token_only_the_page_is_given(make_client: Callable[..., TestClient]) -> None:
    client = make_client(token="secret" * 8)
    assert client.get("/").status_code == client.get("/page/page.js").status_code == 200
    assert client.get("/v1/run").status_code == 401


def colours(css: str, block: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#\w+);", block))


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_whatever_is_written_stands_out_in_both_themes() -> None:
    """WCAG 2.2, 1.4.3: a contrast of 4.5 to 1."""
    css = (FILES / "page.css").read_text(encoding="utf-8")
    light, dark = re.findall(r":root \{(.*?)\}", css, flags=re.S)[:2]
    for block in (light, dark):
        found = colours(css, block)
        pairs = [*product(("text", "faint", "accent"), ("back", "box")), ("bad", "bad-back"), ("bad", "back")]
        for written, behind in [*pairs, ("on-accent", "accent")]:
            high, low = sorted((luminance(found[written]), luminance(found[behind])), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 4.5, (written, behind)


# -------------------------------------------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("there is no browser: Debian's package chromium has one")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def visit(browser: Any, serve: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """Open the page of a service in a tab of its own; what goes wrong in it fails the test."""
    wrong: list[str] = []
    contexts = []

    def open_page(path: str = "/", *options: str, environment: dict[str, str] | None = None, **look: Any) -> Any:
        server = serve(*options, **(environment or {}))
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 800}, **look})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        # A search that a further key made needless is taken back by the page itself.
        page.on("requestfailed", lambda asked: asked.failure == "net::ERR_ABORTED" or wrong.append(asked.url))
        page.goto(server.address + path)
        page.server = server
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong


def texts(page: Any, selector: str) -> list[str]:
    return [text.strip() for text in page.locator(selector).all_inner_texts()]


def ask_user(page: Any, user: str) -> None:
    page.get_by_label("User id").first.fill(user)
    page.get_by_role("button", name="Recommend").click()


def test_a_user_gets_the_list_the_service_gives_with_reasons_on_demand(visit: Callable[..., Any]) -> None:
    page = visit()
    ask_user(page, "u7")
    page.locator("#list a").nth(9).wait_for()
    answer = page.server.get("/v1/users/u7/recommendations").json()
    assert texts(page, "#list > li > a") == [item["title"] for item in answer["recommendations"]]
    assert texts(page, "#history a") == [item["title"] for item in answer["history"]]
    assert page.url.endswith("#/user/u7")
    assert page.evaluate("document.activeElement.id") == "answer-title"
    assert not texts(page, ".reasons li")
    page.get_by_role("button", name="Why these?").click()
    page.locator(".reasons").nth(9).wait_for()
    assert page.get_by_role("button", name="Why these?").get_attribute("aria-pressed") == "true"
    met = {item["title"] for item in page.server.get("/v1/users/u7/recommendations?k=1").json()["history"]}
    named = [re.sub(r"^\S+ %\s*| \(pulls it down\)$", "", text) for text in texts(page, ".reasons li")]
    assert met & set(named)


def test_somebody_new_is_typed_by_the_keyboard_alone(visit: Callable[..., Any]) -> None:
    page = visit()
    page.get_by_label("somebody new").check()
    page.get_by_role("combobox", name="What they met").focus()
    for title in ("space film 3", "garden book 21"):
        page.keyboard.type(title)
        page.locator("#found[aria-busy=false] li").first.wait_for()
        page.keyboard.press("ArrowDown")
        assert page.locator("#search").get_attribute("aria-activedescendant") == "found-0"
        page.keyboard.press("Enter")
        page.locator("#found").wait_for(state="hidden")
    assert [re.sub(r"\W+$", "", text) for text in texts(page, "#met li")] == ["Space film 3", "Garden book 21"]
    page.get_by_role("button", name="Recommend").press("Enter")
    page.locator("#list a").first.wait_for()
    assert page.locator("#answer-title").inner_text() == "For somebody new"
    assert texts(page, "#history a") == ["Garden book 21", "Space film 3"]
    page.get_by_label("Remove Space film 3").press("Enter")
    assert len(texts(page, "#met li")) == 1


def test_what_somebody_new_did_is_chosen_beside_each_title(visit: Callable[..., Any], shop_with_events: str) -> None:
    page = visit("/", "--run", shop_with_events, viewport={"width": 360, "height": 740})
    sent: list[dict[str, Any]] = []
    page.on("request", lambda asked: asked.method == "POST" and sent.append(asked.post_data_json))
    page.get_by_label("somebody new").check()
    for title in ("Lamp 1", "Lamp 2"):
        page.get_by_role("combobox", name="What they met").fill(title)
        page.locator("#found[aria-busy=false] li").first.click()
    chosen = page.get_by_role("combobox", name="What was done with Lamp 1")
    # Of what the log drops nobody can have done anything that counts.
    assert chosen.locator("option").all_inner_texts() == ["no event", "view", "purchase"]
    chosen.focus()
    page.keyboard.press("p")
    assert page.evaluate("document.activeElement.value") == "purchase"
    page.get_by_label("Remove Lamp 2").click()
    assert chosen.input_value() == "purchase"
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.get_by_role("button", name="Recommend").click()
    page.locator("#list a").first.wait_for()
    assert sent[-1]["history"] == [{"item": "0001", "event": "purchase"}]
    assert texts(page, "#history li") == ["Lamp 1 purchase"]


def test_enter_chooses_nothing_that_was_found_for_other_words(visit: Callable[..., Any]) -> None:
    page = visit()
    page.get_by_label("somebody new").check()
    field = page.get_by_role("combobox", name="What they met")
    field.fill("space film 3")
    page.locator("#found[aria-busy=false] li").first.wait_for()
    field.fill("garden book 21")
    page.keyboard.press("Enter")
    page.locator("#found[aria-busy=false] li", has_text="Garden book 21").wait_for()
    page.keyboard.press("Enter")
    assert [re.sub(r"\W+$", "", text) for text in texts(page, "#met li")] == ["Garden book 21"]


def test_the_same_user_stands_under_every_row_side_by_side(visit: Callable[..., Any]) -> None:
    page = visit("/#/compare")
    page.locator("#compared").fill("u45")
    page.get_by_role("button", name="Compare").click()
    page.locator("#rows section").first.wait_for()
    rows = page.server.get("/v1/run").json()["rows"]
    assert texts(page, "#rows h2") == [f"{rows[0]} (served)", *rows[1:]]
    for place, row in enumerate(rows):
        answer = page.server.get(f"/v1/users/u45/recommendations?model={row}").json()
        shown = texts(page, f"#rows section:nth-of-type({place + 1}) li a")
        assert shown == [item["title"] for item in answer["recommendations"]]


def test_an_item_has_a_page_of_what_is_like_it_and_back_goes_back(visit: Callable[..., Any]) -> None:
    page = visit("/#/user/u7")
    page.locator("#list a").first.wait_for()
    title = page.locator("#list a").first.inner_text()
    page.locator("#list a").first.click()
    page.locator("#similar a").first.wait_for()
    assert page.locator("#item-title").inner_text() == title
    page.go_back()
    page.locator("#ask").wait_for()
    assert page.locator("#list a").first.inner_text() == title


def test_the_table_of_the_evaluation_marks_the_served_row(visit: Callable[..., Any]) -> None:
    page = visit("/#/evaluation")
    run = page.server.get("/v1/run").json()
    page.locator("#figures tbody tr").first.wait_for()
    assert len(texts(page, "#figures tbody tr")) == len(run["evaluation"])
    assert texts(page, "tr.served th") == [f"{run['rows'][0]} (served)"]


def test_what_the_service_says_of_a_sum_and_of_an_item_is_shown(visit: Callable[..., Any]) -> None:
    page = visit()
    run = page.server.get("/v1/run").json()
    why, remark = "no sum of terms: 0.1000 on others", "ease has no weight above zero of it"
    page.route("**/v1/run", lambda route: route.fulfill(json={**run, "not_served": why}))
    item = page.server.get("/v1/items/i3/similar").json()
    page.route("**/similar?*", lambda route: route.fulfill(json={**item, "similar": [], "remarks": [remark]}))
    page.goto(f"{page.server.address}/#/evaluation")
    page.reload()
    page.get_by_text(f"{run['rows'][0]} answers; {why}.").wait_for()
    page.goto(f"{page.server.address}/#/item/i3")
    page.get_by_text(remark).wait_for()
    assert texts(page, "#similar li") == [remark]


def test_what_cannot_be_answered_is_said_with_what_to_do(visit: Callable[..., Any]) -> None:
    page = visit()
    ask_user(page, "u777")
    page.get_by_role("alert").wait_for()
    said = page.get_by_role("alert").inner_text()
    assert "u777" in said
    assert "nearest ids" in said
    assert page.locator("#answer").is_hidden()
    ask_user(page, "u7")
    page.locator("#list a").first.wait_for()
    assert page.get_by_role("alert").count() == 0


def test_a_service_off_loopback_asks_for_its_token_once(visit: Callable[..., Any]) -> None:
    page = visit(environment={"GLTA_TOKEN": "a-long-enough-secret-of-this-test"})
    page.get_by_role("dialog").wait_for()
    for given in ("a-long-enough-secret-of-another", "a-long-enough-secret-of-this-test"):
        page.get_by_label("Token", exact=True).fill(given)
        page.get_by_role("button", name="Go on").click()
        if given.endswith("another"):
            page.get_by_text("It is another one.").wait_for()
    ask_user(page, "u7")
    page.locator("#list a").first.wait_for()


def test_whoever_gives_no_token_is_told_so(visit: Callable[..., Any]) -> None:
    page = visit(environment={"GLTA_TOKEN": "a-long-enough-secret-of-this-test"})
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("alert").wait_for()
    assert "a token is asked for" in page.get_by_role("alert").inner_text()


def test_a_model_that_has_not_read_a_history_is_named(visit: Callable[..., Any]) -> None:
    page = visit()

    def answer(route: Any) -> None:
        said = route.fetch().json() | {"not_read_by": "smollm2"}
        route.fulfill(body=json.dumps(said), content_type="application/json")

    page.route("**/v1/recommendations", answer)
    page.get_by_label("somebody new").check()
    page.get_by_role("combobox", name="What they met").fill("space film 3")
    page.locator("#found li").first.click()
    page.get_by_role("button", name="Recommend").click()
    page.locator("#list a").first.wait_for()
    assert page.locator("#not-read").inner_text() == "Without smollm2, which has not read this history."
    page.unroute("**/v1/recommendations")
    page.get_by_role("button", name="Recommend").click()
    page.locator("#not-read").wait_for(state="hidden")


def test_an_address_with_a_percent_of_its_own_is_answered(visit: Callable[..., Any]) -> None:
    page = visit("/#/user/100%")
    page.get_by_role("alert").wait_for()
    assert "no user is called '100%'" in page.get_by_role("alert").inner_text()


def test_a_title_that_is_markup_is_text(visit: Callable[..., Any]) -> None:
    page = visit()

    def answer(route: Any) -> None:
        said = route.fetch().json()
        for item in (*said["recommendations"], *said["history"]):
            item["title"] = EVIL
        route.fulfill(body=json.dumps(said), content_type="application/json")

    page.route("**/v1/recommendations", answer)
    ask_user(page, "u7")
    page.locator("#list a").first.wait_for()
    assert page.locator("#list a").first.inner_text() == EVIL
    assert page.evaluate("window.harmed") is None


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_on_a_phone_nothing_stands_beyond_its_edge_and_the_theme_is_the_readers(
    visit: Callable[..., Any], theme: str
) -> None:
    page = visit(viewport={"width": 360, "height": 740}, color_scheme=theme)
    ask_user(page, "u7")
    page.locator("#list a").first.wait_for()
    for path in ("#/user/u7", "#/compare/u7", "#/item/i3", "#/evaluation"):
        page.evaluate(f"location.hash = '{path}'")
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
    assert luminance_of(page.evaluate("getComputedStyle(document.body).backgroundColor")) == (theme == "light")


def luminance_of(colour: str) -> bool:
    """Whether a computed colour is bright."""
    return sum(map(int, re.findall(r"\d+", colour)[:3])) > 3 * 128


def test_every_field_has_a_name_for_a_screen_reader(visit: Callable[..., Any]) -> None:
    page = visit()
    page.locator("#ask").wait_for()
    nameless = page.evaluate(
        "[...document.querySelectorAll('input, select, textarea')].filter(e => !e.labels.length).map(e => e.id)"
    )
    assert nameless == []
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("main h1:visible").count() == 1


def test_the_files_of_the_page_are_few_and_small() -> None:
    assert sum(file.stat().st_size for file in Path(FILES).iterdir()) < 40_000


def test_a_wish_weighs_as_much_as_everywhere_unless_it_is_moved(visit: Callable[..., Any]) -> None:
    page = visit()
    sent: list[dict[str, Any]] = []
    page.on("request", lambda asked: asked.method == "POST" and sent.append(asked.post_data_json))
    assert float(page.locator("#weight").get_attribute("value")) == WISH_WEIGHT
    page.get_by_label("In words, what is wanted").fill("space film")
    ask_user(page, "u7")
    page.locator("#list a, [role=alert] p").first.wait_for()
    assert sent[-1]["wish"] == "space film"
    assert "wish_weight" not in sent[-1]
