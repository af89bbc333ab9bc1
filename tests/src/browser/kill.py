"""An application is killed by the button on its page, with and without scripts, and by no other site."""
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from playwright.sync_api import expect

FORGED = """<!doctype html><title>Another site</title>
<form method="post" action="{action}"><input type="hidden" name="csrf" value="{token}"><button>Win</button></form>
<iframe src="{page}"></iframe>"""


def kill(visitor, master, first, second):
    """Both applications run, and would run on."""
    window = visitor.window()
    page = window.open(f"{master}/applications/{first}")
    badge = page.locator("main h1 .badge")
    expect(badge).to_have_text("RUNNING")
    forged(visitor, master, f"/applications/{first}", page.locator("input[name=csrf]").get_attribute("value"))
    without_token(visitor, page.url)

    button = page.get_by_role("button", name="Kill")
    questions = []
    page.once("dialog", lambda dialog: (questions.append(dialog.message), dialog.dismiss()))
    button.click()
    assert len(questions) == 1 and first in questions[0], questions
    assert state_of(page) == "RUNNING"
    page.once("dialog", lambda dialog: dialog.accept())
    button.click()
    expect(badge).to_have_text("KILLED")
    expect(button).to_have_count(0)
    window.close()
    without_scripts(visitor, f"{master}/applications/{second}")


def state_of(page):
    """As the master has it now, whatever the page shows."""
    answer = page.context.request.get(page.url.replace("/applications/", "/api/v1/applications/"))
    return answer.json()["state"]


def forged(visitor, master, path, token):
    """Another site knows everything of the form, even its token. From the address that the page has, and from another."""
    with Site(FORGED.format(action=f"{master}{path}/kill", token=token, page=f"{master}{path}")) as site:
        for host in ("127.0.0.1", "localhost"):
            window = visitor.window()
            window.origins.add(master)
            page = window.open(f"http://{host}:{site.port}/")
            framed = page.frames[1]
            assert not framed.url.startswith(master) and framed.locator("main").count() == 0, "it can be framed"
            with page.expect_navigation() as waiting:
                page.get_by_role("button", name="Win").click()
            assert waiting.value.status == 403, waiting.value.status
            expect(page.locator("body")).to_contain_text("may not change anything")
            window.refused(403)
            framing = [complaint for complaint in window.complaints if "frame-ancestors" in complaint]
            assert framing, f"nothing of the frame in {window.complaints}"
            window.complaints = [complaint for complaint in window.complaints if complaint not in framing]
            window.close()


def without_token(visitor, url):
    """A form of our own page whose token is wrong or not there."""
    window = visitor.window(java_script_enabled=False)
    page = window.open(url)
    for change in ("field.value = 'x' + field.value.slice(1)", "field.remove()"):
        page.goto(url)
        page.locator("input[name=csrf]").evaluate(f"field => {{ {change}; }}")
        with page.expect_navigation() as waiting:
            page.get_by_role("button", name="Kill").click()
        assert waiting.value.status == 403, waiting.value.status
        window.refused(403)
    page.goto(url)
    assert state_of(page) == "RUNNING"
    window.close()


def without_scripts(visitor, url):
    window = visitor.window(java_script_enabled=False)
    page = window.open(url)
    assert state_of(page) == "RUNNING"
    page.get_by_role("button", name="Kill").click()
    page.wait_for_url(url)
    badge = page.locator("main h1 .badge")
    while badge.text_content() != "KILLED":
        assert badge.text_content() in ("RUNNING", "KILLING"), badge.text_content()
        page.reload()
    expect(page.get_by_role("button", name="Kill")).to_have_count(0)
    window.close()


class Site:
    """A web site that is not ours: one page, on a port that the system chose."""

    def __init__(self, text):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                body = text.encode() if self.path == "/" else b""
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                """Nobody reads it."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
