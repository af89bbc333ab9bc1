"""A running application is watched: pages follow it by themselves and leave the reader alone."""
from playwright.sync_api import expect

import soundness
from visitor import TIMEOUT_MS, reached

# Low and narrow, so that there is something to scroll in both directions.
SMALL = {"width": 700, "height": 500}
STAYS = """() => ({
    top: scrollY, left: document.querySelector("#steps .scroll").scrollLeft,
    isOpen: document.querySelector("#job details").open, focus: document.activeElement.textContent,
})"""
SELECT = "getSelection().selectAllChildren(document.querySelector('main h1'))"
LISTEN = """() => {
    window.words = 0;
    new EventSource("/events").addEventListener("change", () => { words += 1; });
}"""


def watch(visitor, master, app_id, held, waits):
    """The step `held` is held in its middle, the step `waits` reads what it writes and is then held too."""
    window = visitor.window(viewport=SMALL)
    page = window.open(f"{master}/applications/{app_id}")
    page.evaluate("window.isFirstLoad = true")
    expect(state(page, held)).to_have_text("RUNNING")
    expect(state(page, waits)).to_have_text("PENDING")
    expect(page.locator("main h1 .badge")).to_have_text("RUNNING")
    soundness.assert_sound(page, "while it runs")
    expect(page.get_by_role("button", name="Kill")).to_be_visible()
    log = Log(window, f"{master}/applications/{app_id}/logs?stream=stderr")
    stays = settle(page, waits)
    reached("held")

    expect(state(page, held)).to_have_text("COMMITTED")
    expect(state(page, waits)).to_have_text("RUNNING")
    assert page.evaluate(STAYS) == stays, f"{page.evaluate(STAYS)}, before {stays}"
    query = running_query(page, waits)
    log.assert_follows(held)

    # Nothing moves under a selection, whatever happens meanwhile.
    page.evaluate(SELECT)
    selected = page.evaluate("String(getSelection())")
    page.evaluate(LISTEN)
    reached("selected")
    wait_for_end(page, f"{master}/api/v1/applications/{app_id}")
    words = page.evaluate("words")
    page.wait_for_function("before => words > before", arg=words)
    assert page.evaluate("String(getSelection())") == selected
    expect(state(page, waits)).to_have_text("RUNNING")
    page.evaluate("getSelection().empty()")
    expect(state(page, waits)).to_have_text("COMMITTED")
    expect(page.locator("main h1 .badge")).to_have_text("FINISHED")
    expect(page.get_by_role("button", name="Kill")).to_have_count(0)
    assert page.evaluate(STAYS) == stays
    assert page.evaluate("window.isFirstLoad"), "the page was loaded anew"

    expect(query.locator("main h1 .badge")).to_have_text("FINISHED")
    log.assert_downloads()
    window.close()


def state(page, table):
    return page.locator("#steps tbody tr").filter(has=page.get_by_role("link", name=table, exact=True)).locator("td .badge").first


def settle(page, table):
    """Opens, scrolls and focuses what must stay so; gives how it is."""
    page.locator("#job summary").click()
    page.locator("#steps").get_by_role("link", name=table, exact=True).focus()
    page.locator("#steps .scroll").evaluate("place => { place.scrollLeft = 60; }")
    page.evaluate("scrollTo(0, 300)")
    stays = page.evaluate(STAYS)
    assert stays["top"] == 300 and stays["left"] == 60 and stays["isOpen"] and stays["focus"] == table, stays
    return stays


def running_query(page, table):
    """The page of the query that runs for a step, by the link at its progress."""
    href = page.locator("#steps .stage a").first.get_attribute("href")
    query = page.context.new_page()
    query.goto(page.url.split("/applications/")[0] + href)
    expect(query.locator("main h1")).to_contain_text(table)
    expect(query.locator("main h1 .badge")).to_have_text("RUNNING")
    soundness.assert_sound(query, "while it runs")
    return query


def wait_for_end(page, url):
    """Waits until the master says that the application has ended, which the page must not show yet."""
    script = """async ([url, deadline]) => {
        let answer = {};
        while (performance.now() < deadline) {
            answer = await (await fetch(url)).json();
            if (answer.state === "FINISHED") return;
            await new Promise(resolve => setTimeout(resolve, 50));
        }
        throw new Error(`it has not ended: ${JSON.stringify(answer)}`);
    }"""
    page.evaluate(script, [url, page.evaluate("performance.now()") + TIMEOUT_MS])


class Log:
    """The page of a log, open beside the page of its application."""

    def __init__(self, window, url):
        self.page = window.open(url)
        self.text = self.page.locator("pre.log")
        expect(self.page.locator("#follow")).to_be_visible()
        expect(self.page.locator("#follow")).to_be_checked()
        expect(self.text).not_to_have_text("")
        self.before = self.text.text_content()
        soundness.assert_sound(self.page, "while it runs")

    def assert_follows(self, table):
        """What was printed since is appended, and the end stays in sight."""
        self.page.wait_for_function(
            "([before, table]) => { const text = document.querySelector('pre.log').textContent;"
            " return text.length > before.length && text.startsWith(before) && text.slice(before.length).includes(table); }",
            arg=[self.before, table])
        rest = self.text.evaluate("log => log.scrollHeight - log.scrollTop - log.clientHeight")
        assert rest < 40, f"{rest} pixels of the log are below what is shown"

    def assert_downloads(self):
        with self.page.expect_download() as waiting:
            self.page.get_by_role("link", name="Download the whole log").click()
        whole = waiting.value.path().read_text()
        assert whole.startswith(self.before) and len(whole) > len(self.before), whole
