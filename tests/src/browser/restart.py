"""The master is restarted under an open page, and tells afterwards what was before."""
from playwright.sync_api import expect

from visitor import reached

LOST = "No page comes from this address any more"


def restart(visitor, master, app_id, operators):
    """The application has ended; `operators` are what its query has run."""
    window = visitor.window()
    page = window.open(f"{master}/")
    expect(page.locator("#ended")).to_contain_text(app_id)
    reached("open")
    silent = page.locator("#silent")
    expect(silent).to_contain_text(LOST)
    expect(silent).to_be_visible()
    # The stream of events and the page itself: both are told by the browser, and expected.
    reached("lost")
    expect(silent).to_be_hidden()
    window.complaints = [complaint for complaint in window.complaints if "ERR_" not in complaint]

    page.get_by_role("navigation", name="Pages").get_by_role("link", name="History").click()
    page.get_by_role("searchbox", name="Name or id").fill(app_id)
    page.get_by_label("finished").check()
    page.get_by_role("button", name="Search").click()
    found = page.locator("#list tbody tr")
    expect(found).to_have_count(1)
    found.get_by_role("link").first.click()
    expect(page.locator("main h1 .badge")).to_have_text("FINISHED")
    assert page.url.endswith(f"/applications/{app_id}"), page.url
    expect(page.locator("#steps tbody .badge").first).to_have_text("COMMITTED")
    page.locator("#queries tbody th a").first.click()
    expect(page.locator("main h1")).to_contain_text("Query of")
    for operator in operators:
        expect(page.locator("main section .tree").filter(has_text=operator).first).to_be_visible()
    page.get_by_role("navigation", name="Breadcrumbs").get_by_role("link", name="Applications").click()
    expect(page.locator("main h1")).to_have_text("Applications")
    window.close()
