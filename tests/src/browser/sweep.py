"""Every page in every way to look at it: light, dark, on a phone, by keys, without scripts; and text that would be markup."""
from playwright.sync_api import expect

import places
import soundness
from visitor import PHONE, WIDE

LOOKS = {"light": ("light", WIDE), "dark": ("dark", WIDE), "phone": ("light", PHONE["viewport"])}


def sweep(visitor, master, app_id, failed_id, hostile):
    """An application with the name `hostile` has ended, and another one has failed with that text in its message."""
    finder = visitor.window()
    found = places.of(finder.context.new_page(), master, app_id)
    finder.complaints = [complaint for complaint in finder.complaints if not complaint.startswith("loads ")]
    finder.close()
    found["failed application"] = f"{master}/applications/{failed_id}"
    without_scripts(visitor, found, looked_at(visitor, found))
    by_keys(visitor, found)
    hostile_text(visitor, found, hostile)
    long_names(visitor, found)
    unknown(visitor, master)


def looked_at(visitor, found):
    """Gives the headings of every page."""
    window = visitor.window()
    page = window.context.new_page()
    headings = {}
    for name, url in found.items():
        window.go(page, url)
        for look, (scheme, size) in LOOKS.items():
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size(size)
            seen = soundness.assert_sound(page, look)
            assert seen["isBright"] == (scheme == "light"), f"{url} in {look}"
            headings[name] = seen["headings"]
    window.close()
    return headings


def without_scripts(visitor, found, headings):
    """The same is there, with moments in UTC, and links and forms do their work."""
    window = visitor.window(java_script_enabled=False)
    page = window.context.new_page()
    for name, url in found.items():
        window.go(page, url)
        seen = soundness.assert_sound(page, "without scripts", is_local=False)["headings"]
        assert seen == headings[name], f"{name}: {seen}, with scripts {headings[name]}"
        expect(page.locator("#follow")).to_be_hidden()
    window.go(page, found["application"])
    page.locator("#job summary").click()
    expect(page.locator("#job pre")).to_be_visible()
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="History").click()
    page.get_by_role("searchbox", name="Name or id").fill("no such application")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#list")).to_contain_text("No application is like this.")
    page.get_by_role("link", name="Show all").click()
    expect(page.locator("#list tbody tr")).not_to_have_count(0)
    window.close()


def by_keys(visitor, found):
    window = visitor.window()
    # The order of keys hangs on no script, and pages that change meanwhile would have other elements.
    window.context.route("**/refresh.js", lambda route: route.fulfill(body="", content_type="text/javascript"))
    page = window.context.new_page()
    for url in found.values():
        window.go(page, url)
        soundness.assert_reachable_by_keys(page)
    window.go(page, found["application"])
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    page.locator("#job summary").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#job pre")).to_be_visible()
    window.close()


def hostile_text(visitor, found, hostile):
    """It is shown as it is. And if it had become markup, it would do nothing."""
    window = visitor.window()
    page = window.context.new_page()
    for name in ("cluster", "history", "application", "query", "stderr", "failed application"):
        window.go(page, found[name])
        expect(page.locator("main")).to_contain_text(hostile)
        expect(page.locator("main img")).to_have_count(0)
        assert page.evaluate("window.harmed") is None, f"{name}: text of a job has run"
    assert not window.complaints, window.complaints
    page.evaluate("hostile => { document.querySelector('main').innerHTML = hostile; }", hostile)
    page.evaluate("document.body.append(Object.assign(document.createElement('script'), { textContent: 'harmed = true' }))")
    expect(page.locator("main img")).to_have_count(1)
    assert page.evaluate("window.harmed") is None, "the policy lets inline scripts run"
    refusals = [complaint for complaint in window.complaints if "Content Security Policy" in complaint]
    assert len(refusals) >= 2, window.complaints
    window.complaints = []
    window.close()


LENGTHENED = """() => {
  const name = document.querySelector('tbody th > a, tbody th > strong > a');
  name.textContent = 'x'.repeat(300);
  const [words, cell] = [name, name.closest('th')].map(element => element.getBoundingClientRect());
  return { over: words.right - cell.right, width: cell.width / parseFloat(getComputedStyle(document.documentElement).fontSize) };
}"""


def long_names(visitor, found):
    """They wrap within their column, which is not as wide as they are."""
    for look in ({"viewport": WIDE}, PHONE):
        window = visitor.window(**look)
        page = window.context.new_page()
        for name in ("cluster", "history", "tables", "application"):
            window.go(page, found[name])
            shown = page.evaluate(LENGTHENED)
            assert shown["over"] <= 0 and shown["width"] < 40, f"{name} with {look['viewport']}: {shown}"
        window.close()


def unknown(visitor, master):
    window = visitor.window(**PHONE)
    page = window.context.new_page()
    for path, status in (("/no-such-page", 404), ("/applications/no-such", 404), ("/history?limit=0", 400)):
        window.go(page, f"{master}{path}", status)
        soundness.assert_sound(page, "phone")
        window.refused(status)
    page.get_by_role("link", name="Workers and applications").click()
    expect(page.locator("main h1")).to_have_text("Cluster")
    window.close()
