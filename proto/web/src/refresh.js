// Keeps a page fresh: fetches it again when its server says that something has changed, or every few seconds where there is
// no such word, and shows what is different. Stands still while nobody looks, text is selected or a field is filled in.
// Focus, positions, and what is folded out stay as they were. Moments are shown in the zone of the reader.
const POLL_MS = 2000;
const POLL_INSTEAD_MS = 4000;
const LOST = "No page comes from this address any more: what is shown is not fresh.";
const REACHABLE = "main a, main button, main input, main summary, main [tabindex]";
const SCROLLING = "main .scroll, main pre";

const all = (selector, root = document) => [...root.querySelectorAll(selector)];
// "off", the name of a stream of events, or nothing: then the page is asked for again and again.
const live = document.querySelector("main")?.dataset.live ?? "";
const hasEvents = live !== "" && live !== "off";

const zone = new Intl.DateTimeFormat(undefined, { timeZoneName: "short" })
  .formatToParts(new Date())
  .find(part => part.type === "timeZoneName")?.value ?? "";
const two = number => String(number).padStart(2, "0");

function localise(root) {
  for (const time of all("time[datetime]", root)) {
    const at = new Date(time.getAttribute("datetime"));
    if (isNaN(at)) continue;
    time.title = `${time.textContent} UTC`;
    const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
    time.textContent = `${day} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  }
  for (const name of all(".zone", root)) name.textContent = zone;
}

function say(text) {
  const silent = document.getElementById("silent");
  if (silent && silent.textContent !== text) silent.textContent = text;
  if (silent) silent.hidden = text === "";
}

// What an element is to its reader, whatever has come or gone before it: its part of the page, its row, and where it leads.
function identity(element) {
  const row = element.closest("tr")?.querySelector("a")?.getAttribute("href");
  const own = element.getAttribute("href") ?? element.getAttribute("aria-label") ?? element.getAttribute("name");
  return [element.closest("section")?.id, row, element.tagName, own].join(" ");
}

// Elements by what they are; those that are the same by their order.
function known(selector, root = document) {
  const found = new Map();
  const times = new Map();
  for (const element of all(selector, root)) {
    const name = identity(element);
    times.set(name, (times.get(name) ?? 0) + 1);
    found.set(`${name} ${times.get(name)}`, element);
  }
  return found;
}

function show(fresh) {
  localise(fresh);
  const folded = known("main details");
  for (const [name, next] of known("main details", fresh)) next.open = folded.get(name)?.open ?? next.open;
  const focused = [...known(REACHABLE)].find(([, element]) => element === document.activeElement)?.[0];
  const scrolled = [...known(SCROLLING)].map(([name, place]) => [name, place.scrollLeft, place.scrollTop]);
  const [left, top] = [scrollX, scrollY];
  let isNew = false;
  for (const part of ["main", "header .at"]) {
    const old = document.querySelector(part);
    const next = fresh.querySelector(part);
    if (old && next && old.outerHTML !== next.outerHTML) {
      old.replaceWith(next);
      isNew = true;
    }
  }
  if (!isNew) return;
  const places = known(SCROLLING);
  for (const [name, toLeft, toTop] of scrolled) places.get(name)?.scrollTo(toLeft, toTop);
  scrollTo(left, top);
  const again = known(REACHABLE).get(focused);
  if (again && again !== document.activeElement) again.focus({ preventScroll: true });
}

const isBusy = () =>
  document.hidden || String(getSelection()) !== "" || (document.activeElement?.matches("main input, main select") ?? false);

let isFetching = false;
let isWanted = false;

async function refresh() {
  isWanted = true;
  if (isFetching || isBusy()) return;
  isFetching = true;
  isWanted = false;
  try {
    const answer = await fetch(location.href, { signal: AbortSignal.timeout(10000) });
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const isPage = fresh.querySelector("main") !== null;
    if (isPage && !isBusy()) show(fresh);
    say(isPage ? "" : LOST);
  } catch {
    say(LOST);
  }
  isFetching = false;
}

let stream;
const isTold = () => stream?.readyState === EventSource.OPEN;

// Only pages that are looked at hold a connection: browsers have few for one address.
function listen() {
  stream?.close();
  stream = undefined;
  if (document.hidden || !hasEvents) return;
  stream = new EventSource(`/${live}`);
  stream.addEventListener("change", refresh);
}

function look() {
  if (!isTold() || isWanted) refresh();
  if (stream?.readyState === EventSource.CLOSED) listen();
  setTimeout(look, hasEvents ? POLL_INSTEAD_MS : POLL_MS);
}

localise(document);
if (live !== "off") {
  listen();
  setTimeout(look, POLL_MS);
  document.addEventListener("visibilitychange", () => {
    listen();
    if (!document.hidden) refresh();
  });
}

document.addEventListener("submit", event => {
  const question = event.target.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});
