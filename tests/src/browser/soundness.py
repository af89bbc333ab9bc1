"""What must hold for every page, however it is looked at."""
import pathlib
from datetime import datetime, timedelta

from visitor import ZONE_OFFSET

RULES = (pathlib.Path(__file__).parent / "soundness.js").read_text()
INTERACTIVE = "a[href], button, input:not([type=hidden]), select, summary, [tabindex='0']"
# Remembers what gets the focus, and whether one sees it there.
LISTEN = """() => {
    window.visited = new Map();
    document.addEventListener("focusin", ({ target }) => visited.set(target, getComputedStyle(target).outlineStyle !== "none"));
}"""
EXPECTED = f"() => [...document.querySelectorAll(\"{INTERACTIVE}\")].filter(element => element.checkVisibility())"
COUNT = f"() => ({EXPECTED})().length"
UNREACHED = f"""() => ({EXPECTED})()
    .filter(element => !visited.get(element))
    .map(element => `${{visited.has(element) ? "no outline at" : "not reached:"}} ${{element.outerHTML.slice(0, 160)}}`)"""
# Tab also stops at what scrolls, and once outside of the page.
OTHER_STOPS = 12


def assert_sound(page, look, is_local=True):
    """Nothing is wrong with it, and its moments are those of the reader's zone, or of UTC where no script can know that.
    Gives what was seen."""
    seen = page.evaluate(RULES)
    assert not seen["wrong"], f"{page.url}, {look}:\n" + "\n".join(seen["wrong"])
    offset = timedelta(**ZONE_OFFSET) if is_local else timedelta()
    for exact, shown in seen["moments"]:
        expected = (datetime.strptime(exact, "%Y-%m-%dT%H:%M:%SZ") + offset).strftime("%Y-%m-%d %H:%M:%S")
        assert shown == expected, f"{page.url} shows {shown} for {exact}, expected {expected}"
    assert set(seen["zones"]) <= ({"GMT+5:45"} if is_local else {"UTC"}), f"{page.url} names the zones {seen['zones']}"
    return seen


def assert_reachable_by_keys(page):
    """Everything that can be used gets the focus by Tab alone, where one sees it. The page must stand still."""
    page.evaluate(LISTEN)
    for _ in range(page.evaluate(COUNT) + OTHER_STOPS):
        page.keyboard.press("Tab")
    unreached = page.evaluate(UNREACHED)
    assert not unreached, f"{page.url} by Tab:\n" + "\n".join(unreached)
