// A page as it is shown now: what is wrong with it, one sentence each, and what a test compares. Evaluated by the tests,
// never served.
() => {
  const wrong = [];
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const shown = element => element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  const words = element => (element.textContent ?? "").trim();
  const named = element =>
    `${element.tagName.toLowerCase()}${element.getAttribute("class") ? `.${element.getAttribute("class")}` : ""} '${words(element).slice(0, 60)}'`;

  // Colours in every notation of CSS, as red, green, blue and how much they cover.
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const brush = canvas.getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const paint = colour => {
    if (!known.has(colour)) {
      brush.clearRect(0, 0, 1, 1);
      brush.fillStyle = colour;
      brush.fillRect(0, 0, 1, 1);
      const [red, green, blue, cover] = brush.getImageData(0, 0, 1, 1).data;
      known.set(colour, { light: [red, green, blue], cover: cover / 255 });
    }
    return known.get(colour);
  };
  const over = (upper, lower) => lower.map((part, at) => upper.light[at] * upper.cover + part * (1 - upper.cover));
  const behind = element => {
    const layers = [];
    for (let place = element; place; place = place.parentElement) layers.push(paint(getComputedStyle(place).backgroundColor));
    const box = element.closest(".box")?.querySelector(".shape");
    if (box && getComputedStyle(box).fill !== "none") layers.unshift(paint(getComputedStyle(box).fill));
    return layers.reverse().reduce((lower, upper) => over(upper, lower), [255, 255, 255]);
  };
  // Relative luminance and contrast as WCAG 2 defines them.
  const luminance = light => {
    const [red, green, blue] = light.map(part => part / 255).map(part => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const contrast = (one, other) => {
    const [dim, bright] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (bright + 0.05) / (dim + 0.05);
  };

  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const judged = new Set();
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (walker.currentNode.data.trim() === "" || judged.has(element) || !shown(element)) continue;
    judged.add(element);
    const style = getComputedStyle(element);
    const isDrawn = element.namespaceURI === "http://www.w3.org/2000/svg";
    if (isDrawn && element.tagName === "title") continue;
    const below = behind(element);
    const found = contrast(over(paint(isDrawn ? style.fill : style.color), below), below);
    if (found < 4.5) wrong.push(`the contrast of ${named(element)} is ${found.toFixed(2)}`);
  }

  const room = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > room) {
    const wide = all("body *").filter(element => element.scrollWidth > room && element.closest(".scroll, pre") === null);
    wrong.push(`it is ${document.documentElement.scrollWidth} wide where there is room for ${room}: ${wide.slice(-3).map(named)}`);
  }

  for (const element of all("a[href], button, input:not([type=hidden]), summary, [tabindex]")) {
    const name = words(element) || element.getAttribute("aria-label") || words(element.labels?.[0] ?? {});
    if (!name) wrong.push(`${named(element)} has no name`);
  }
  // What a colour says is said in words too: its own, a hint, or the name of the drawing that it is in.
  for (const element of all("main .good, main .bad, main .warn, main .run, main .badge")) {
    const isTold = words(element) !== "" || element.closest("svg[aria-label]") !== null;
    if (!isTold) wrong.push(`${named(element)} says something by its colour alone`);
  }
  for (const picture of all("svg:not([aria-hidden])")) {
    if (!picture.getAttribute("aria-label") && !picture.closest("[aria-hidden]")) wrong.push(`a drawing ${named(picture)} has no name`);
  }
  for (const element of all("body, body *")) {
    const inline = [...element.attributes].find(({ name }) => name === "style" || name.startsWith("on"));
    if (inline) wrong.push(`${named(element)} has ${inline.name} in it`);
  }
  if (document.scripts.length === 0 || [...document.scripts].some(script => !script.src)) wrong.push("a script stands in the page");
  for (const id of all("[id]").map(element => element.id)) {
    if (all(`[id="${CSS.escape(id)}"]`).length > 1) wrong.push(`the id '${id}' is there more than once`);
  }
  if (all("h1").length !== 1) wrong.push(`it has ${all("h1").length} main headings`);
  if (!document.title || !document.documentElement.lang) wrong.push("it has no title or language");
  return {
    wrong: [...new Set(wrong)],
    moments: all("time").map(time => [time.dateTime, time.textContent]),
    zones: all(".zone").map(words),
    isBright: luminance(behind(document.body)) > 0.5,
    // Without their remarks, which count what goes on.
    headings: all("h1, h2, thead th").map(heading => heading.firstChild?.textContent ?? ""),
  };
}
