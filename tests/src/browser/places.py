"""Where the pages of a cluster are, found as a visitor finds them: by links."""
from urllib.parse import urljoin


def of(page, master, app_id):
    """Every page by its name. The application must have run queries, and its worker must be there."""
    places = {name: f"{master}/{path}" for name, path in {
        "cluster": "",
        "application": f"applications/{app_id}",
        "stdout": f"applications/{app_id}/logs?stream=stdout",
        "stderr": f"applications/{app_id}/logs?stream=stderr",
        "tables": "tables",
        "lineage": "lineage",
        "history": "history",
        "environment": "environment",
    }.items()}
    places["query"] = linked(page, places["application"], "#queries tbody th a")
    places["table"] = linked(page, places["tables"], "#list tbody th a")
    places["worker"] = linked(page, places["cluster"], 'a[href^="/workers/"]')
    places["own page of a worker"] = linked(page, places["worker"], '#summary a[href^="http://"]')
    return places


def linked(page, url, selector):
    page.goto(url)
    return urljoin(url, page.locator(selector).first.get_attribute("href"))
