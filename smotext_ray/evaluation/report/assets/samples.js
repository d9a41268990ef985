// The sample browser: filters the data, draws one page at a time.

const PER_PAGE = 10;
const LONG = 420; // characters of a text shown at first
const ORDERS = new Map([
  ["id", ["sample id", (a, b) => a.sample_id - b.sample_id]],
  ["near", ["nearest to the point", (a, b) => (b.cosine ?? -2) - (a.cosine ?? -2)]],
  ["far", ["farthest from the point", (a, b) => (a.cosine ?? 2) - (b.cosine ?? 2)]],
]);

/** Draw the browser; returns a function that shows the sample with a given id. */
function drawSamples(body, samples, words, withheld) {
  const state = { query: "", label: "", status: "", order: "id", page: 0 };
  const count = element("p", { class: "count", role: "status" });
  const list = element("ol", { class: "samples" });
  const pager = makePager(state, () => show());
  let found = [];
  const filter = () => {
    found = samples.filter(matches(state)).sort(ORDERS.get(state.order)[1]);
    state.page = 0;
    show();
  };
  const show = () => {
    const from = state.page * PER_PAGE;
    const rows = found.slice(from, from + PER_PAGE);
    list.replaceChildren(...rows.map((row) => sampleItem(row, state, words, withheld)));
    const part = found.length === samples.length ? "" : `${number(found.length)} of `;
    count.textContent = `${part}${number(samples.length)} samples`;
    pager.update(found.length);
  };
  const form = makeFilters(samples, state, filter);
  body.append(form.node, count, list, pager.node);
  pager.top = form.node;
  filter();
  return (id) => {
    form.search(`#${id}`);
    document.getElementById("samples").scrollIntoView();
  };
}

function makeFilters(samples, state, filter) {
  const inOrderOfNames = new Intl.Collator("en", { numeric: true }).compare;
  const values = (key) =>
    [...new Set(samples.map((sample) => String(sample[key])))].sort(inOrderOfNames);
  const options = (key, all) => [["", all], ...values(key).map((value) => [value, value])];
  const set = (key) => (value) => {
    state[key] = value;
    filter();
  };
  const input = element("input", { type: "search", placeholder: "words in a text, or #id",
    autocomplete: "off", spellcheck: "false" });
  let wait = 0;
  input.addEventListener("input", () => {
    clearTimeout(wait);
    wait = setTimeout(set("query"), 150, input.value);
  });
  const classes = choice("Class", options("label", "all"), set("label"));
  const statuses = choice("Status", options("status", "all"), set("status"));
  const orders = choice("Order", [...ORDERS].map(([key, [shown]]) => [key, shown]), set("order"));
  const node = element("div", { class: "filters", role: "search", "aria-label": "Filter samples" },
    element("label", { class: "field wide" }, element("span", {}, "Search"), input),
    classes, statuses, orders);
  const search = (query) => {
    for (const select of [classes, statuses]) select.querySelector("select").value = "";
    Object.assign(state, { query, label: "", status: "" });
    input.value = query;
    input.focus({ preventScroll: true });
    filter();
  };
  return { node, search };
}

function matches({ query, label, status }) {
  const pattern = queryPattern(query);
  const id = /^#(\d+)$/.exec(query.trim())?.[1];
  return (sample) => (!label || String(sample.label) === label)
    && (!status || sample.status === status)
    && (id !== undefined ? String(sample.sample_id) === id
      : !pattern || [sample.text, sample.source_text, sample.neighbor_text].some(
        (text) => has(text) && text.search(pattern) >= 0));
}

/** The query as a literal, case-insensitive pattern; null if empty. */
function queryPattern(query) {
  const words = query.trim().replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");
  return words ? new RegExp(`(${words})`, "giu") : null;
}

function makePager(state, show) {
  const place = element("span", { class: "place" });
  const pager = { last: 0, top: null };
  const go = (step) => () => {
    const page = step === "first" ? 0 : step === "last" ? pager.last : state.page + step;
    if (page < 0 || page > pager.last || page === state.page) return;
    state.page = page;
    show();
    pager.top.scrollIntoView();
  };
  const steps = [["First", "first"], ["Previous", -1], ["Next", 1], ["Last", "last"]];
  const buttons = steps.map(([words, step]) => button(words, null, go(step)));
  pager.node = element("nav", { class: "pager", "aria-label": "Pages of samples" },
    ...buttons.slice(0, 2), place, ...buttons.slice(2));
  pager.update = (rows) => {
    pager.last = Math.max(0, Math.ceil(rows / PER_PAGE) - 1);
    place.textContent = `${number(state.page + 1)} of ${number(pager.last + 1)}`;
    buttons.forEach((made, i) => {
      const off = i < 2 ? state.page === 0 : state.page === pager.last;
      made.setAttribute("aria-disabled", String(off)); // "disabled" would drop the focus
    });
    pager.node.hidden = pager.last === 0;
  };
  return pager;
}

function sampleItem(sample, state, words, withheld) {
  const pattern = /^#\d+$/.test(state.query.trim()) ? null : queryPattern(state.query);
  const extra = sample.status === "accepted" && sample.delivered === false;
  const why = extra ? ", not in the result (repeated, or beyond the target)" : sample.reason ? `: ${words.get(sample.reason) ?? plain(sample.reason)}` : "";
  const facts = [["lam", sample.lam], ["cosine", sample.cosine], ["round", sample.round]]
    .filter(([, value]) => has(value))
    .map(([name, value]) => `${name} ${typeof value === "number" && name !== "round"
      ? value.toFixed(2) : value}`);
  return element("li", {},
    element("div", { class: "head" },
      element("h3", {}, element("bdi", {}, String(sample.label)),
        element("small", {}, `#${sample.sample_id}`)),
      element("span", { class: `status ${sample.status === "accepted" ? "yes" : "no"}` },
        `${sample.status}${why}`),
      element("span", { class: "facts" }, facts.join(" \u00b7 "))),
    lamLine(sample.lam),
    element("div", { class: "triple" },
      textBlock("Source", "parent", sample.source_text, pattern, withheld),
      textBlock("Synthetic text", "new", sample.text, pattern, "no text"),
      textBlock("Neighbor", "parent", sample.neighbor_text, pattern, withheld)));
}

/** The position of the point between its parents. */
function lamLine(lam) {
  if (!has(lam)) return null;
  const at = `${(2 + 96 * Math.min(1, Math.max(0, lam))).toFixed(2)}%`;
  return shape("svg", { class: "lam", "aria-hidden": "true" },
    shape("line", { x1: "2%", x2: "98%", y1: 6, y2: 6 }),
    shape("circle", { class: "end", cx: "2%", cy: 6, r: 3 }),
    shape("circle", { class: "end", cx: "98%", cy: 6, r: 3 }),
    shape("circle", { class: "point", cx: at, cy: 6, r: 4.5 }));
}

function textBlock(title, kind, text, pattern, instead) {
  const missing = !has(text) || text === "";
  const shown = element("p", { dir: "auto", class: missing ? "missing" : null });
  const block = element("div", { class: kind }, element("h4", {}, title), shown);
  if (missing) {
    shown.append(instead);
    return block;
  }
  const cut = text.length > LONG && !(pattern && text.search(pattern) >= 0);
  shown.append(...marked(cut ? shortened(text, LONG) : text, pattern));
  if (cut) {
    const more = button("Show more", null, () => {
      shown.replaceChildren(text);
      more.remove();
    });
    more.classList.add("more");
    block.append(more);
  }
  return block;
}

function marked(text, pattern) {
  if (!pattern) return [text];
  return text.split(pattern).map((part, i) => (i % 2 ? element("mark", {}, part) : part));
}
