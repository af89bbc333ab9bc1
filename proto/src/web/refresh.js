// Fetches the page again and shows what has changed. Stands still while nobody looks or text is selected; focus and the
// positions of wide tables stay where they were.
const EVERY_MS = 2000;
const LOST = "No page comes from this address any more: what is shown is not fresh.";
const REACHABLE = "main a, main [tabindex]";

const all = selector => [...document.querySelectorAll(selector)];

function say(text) {
  const silent = document.getElementById("silent");
  if (silent && silent.textContent !== text) silent.textContent = text;
  if (silent) silent.hidden = text === "";
}

function show(fresh) {
  const focused = all(REACHABLE).indexOf(document.activeElement);
  const scrolled = all(".scroll").map(place => place.scrollLeft);
  for (const part of ["main", "header .at"]) {
    const old = document.querySelector(part);
    const next = fresh.querySelector(part);
    if (old && next && old.outerHTML !== next.outerHTML) old.replaceWith(next);
  }
  all(".scroll").forEach((place, index) => { place.scrollLeft = scrolled[index] ?? 0; });
  const again = all(REACHABLE)[focused];
  if (again && again !== document.activeElement) again.focus({ preventScroll: true });
}

async function refresh() {
  if (!document.hidden && !String(getSelection())) {
    try {
      const answer = await fetch(location.href, { signal: AbortSignal.timeout(10000) });
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      const isPage = fresh.querySelector("main") !== null;
      if (isPage) show(fresh);
      say(isPage ? "" : LOST);
    } catch {
      say(LOST);
    }
  }
  setTimeout(refresh, EVERY_MS);
}

setTimeout(refresh, EVERY_MS);
