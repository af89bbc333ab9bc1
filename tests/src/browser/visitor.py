"""A person with a browser, and everything that the browser complains about."""
import shutil
import sys
from urllib.parse import urlsplit

from playwright.sync_api import expect, sync_playwright

# Far from UTC, and not by whole hours: a moment that was not converted, or only its hour, is told apart.
ZONE, ZONE_OFFSET = "Asia/Kathmandu", {"hours": 5, "minutes": 45}
WIDE = {"width": 1280, "height": 900}
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True, "device_scale_factor": 2}
TIMEOUT_MS = 45_000
# Nothing leaves this host, whatever a page or the browser itself would like to load.
NOWHERE_ELSE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"
# There is no screen: what a graphics card would draw is not worth its imitation.
NO_GRAPHICS = "--disable-gpu"
TEXT_SHOWN = 3_000


def reached(place):
    """Tells the test that it can go on."""
    print(f"reached {place}", flush=True)


class Visitor:
    """Has one browser, and a window for each way to look at pages."""

    def __enter__(self):
        program = shutil.which("chromium")
        if program is None:
            sys.exit("no chromium: scripts/test installs it")
        expect.set_options(timeout=TIMEOUT_MS)
        self.playwright = sync_playwright().start()
        self.browser = self.playwright.chromium.launch(executable_path=program, args=[NOWHERE_ELSE, NO_GRAPHICS])
        self.windows = []
        return self

    def __exit__(self, *_):
        self.browser.close()
        self.playwright.stop()

    def window(self, **options):
        self.windows.append(Window(self.browser, options))
        return self.windows[-1]

    def tell_what_is_open(self):
        for window in self.windows:
            for page in window.context.pages:
                text = page.evaluate("document.body.innerText")[:TEXT_SHOWN]
                print(f"---- {page.url}\n{text}\n---- complaints: {window.complaints}", file=sys.stderr)


class Window:
    """Pages that share a zone, a size, a preference for light or dark, and whether scripts run."""

    def __init__(self, browser, options):
        self.context = browser.new_context(**{"timezone_id": ZONE, "locale": "en-GB", "viewport": WIDE, **options})
        self.context.set_default_timeout(TIMEOUT_MS)
        self.complaints = []
        self.origins = set()
        self.context.on("console", self.on_console)
        self.context.on("weberror", lambda error: self.complaints.append(f"script: {error.error}"))
        self.context.on("request", self.on_request)

    def on_console(self, message):
        # What a content security policy refuses is told as an error.
        if message.type in ("error", "warning", "assert"):
            self.complaints.append(f"console: {message.text} ({message.location.get('url')})")

    def on_request(self, request):
        if origin(request.url) not in self.origins:
            self.complaints.append(f"loads {request.url}")

    def open(self, url):
        self.origins.add(origin(url))
        page = self.context.new_page()
        self.go(page, url)
        return page

    def go(self, page, url, status=200):
        self.origins.add(origin(url))
        answer = page.goto(url)
        assert answer.status == status, f"{url} answered {answer.status}"

    def refused(self, status):
        """Takes back what the browser says of an answer that was to be refused; it must have said it."""
        words = f"status of {status}"
        assert any(words in complaint for complaint in self.complaints), f"nothing of {status} in {self.complaints}"
        self.complaints = [complaint for complaint in self.complaints if words not in complaint]

    def close(self):
        """Ends the window. Nothing may be left that the browser has complained about."""
        self.context.close()
        assert not self.complaints, "\n".join(self.complaints)


def origin(url):
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
