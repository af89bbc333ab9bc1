// Goes on with a log: asks for what was printed since, and appends it. Stays at the end while the reader is there.
const EVERY_MS = 1000;
const SELDOM_MS = 3000;
// After so many looks without news.
const PATIENCE = 10;
// Letters that are kept; what is older is in the file.
const MOST = 4_000_000;

const log = document.querySelector("pre.log");
const tick = document.getElementById("follow");

if (log && tick) {
  const decoder = new TextDecoder();
  let next = Number(log.dataset.next);
  let silent = 0;

  const isAtEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 40;

  const append = bytes => {
    const stays = isAtEnd();
    log.append(decoder.decode(bytes, { stream: true }));
    let letters = log.textContent.length;
    while (letters > MOST && log.childNodes.length > 1) {
      letters -= log.firstChild.length;
      log.firstChild.remove();
    }
    if (stays) log.scrollTop = log.scrollHeight;
  };

  const more = async () => {
    if (tick.checked && !document.hidden) {
      silent += 1;
      try {
        const answer = await fetch(`${log.dataset.source}&offset=${next}`, { signal: AbortSignal.timeout(10000) });
        const bytes = answer.ok ? new Uint8Array(await answer.arrayBuffer()) : new Uint8Array();
        if (bytes.length > 0) {
          next += bytes.length;
          silent = 0;
          append(bytes);
        }
      } catch {
        // The next look may find it again.
      }
    }
    setTimeout(more, silent < PATIENCE ? EVERY_MS : SELDOM_MS);
  };

  log.scrollTop = log.scrollHeight;
  if (log.dataset.over !== "true") {
    tick.closest("label").hidden = false;
    tick.addEventListener("change", () => {
      silent = 0;
      if (tick.checked) log.scrollTop = log.scrollHeight;
    });
    setTimeout(more, EVERY_MS);
  }
}
