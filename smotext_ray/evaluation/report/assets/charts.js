// Charts: rows of HTML text, each next to an SVG in percent units. They scale with the page
// without redrawing, and screen readers read them as lists.

const ROWS_SHOWN = 30;

/** Round numbers from low to high. */
function ticks(low, high, about = 4) {
  const rough = (high - low) / about || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const found = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n += 1) {
    found.push(Number((n * step).toPrecision(12)));
  }
  return found;
}

/** From a value to "12.3%" between the two ends. */
function percentScale(low, high) {
  const span = high - low || 1;
  return (value) => `${((100 * (value - low)) / span).toFixed(3)}%`;
}

function extent(values) {
  const real = values.filter(has);
  if (!real.length) return [0, 1];
  const low = real.reduce((a, b) => Math.min(a, b));
  const high = real.reduce((a, b) => Math.max(a, b));
  const margin = (high - low || Math.abs(high) || 1) * 0.04;
  return [low - margin, high + margin];
}

/** A row of a chart: name, drawing, reading. */
function chartRow(name, drawing, value, strong = false) {
  return element(
    "li",
    { class: strong ? "row strong" : "row" },
    element("span", { class: "name", dir: "auto" }, name),
    element("span", { class: "drawing" }, shape("svg", { "aria-hidden": "true" }, ...drawing)),
    element("span", { class: "value" }, value),
  );
}

function axisRow(at, marks, title) {
  return element(
    "li",
    { class: "row axis", "aria-hidden": "true" },
    element("span", { class: "name" }),
    element("span", { class: "drawing" }, shape("svg", {}, ...markWords(at, marks))),
    element("span", { class: "value" }, title),
  );
}

/** The tick labels of an axis, all with the same number of decimals. */
function markWords(at, marks) {
  const digits = Math.max(0, ...marks.map((mark) => (String(mark).split(".")[1] ?? "").length));
  const form = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return marks.map((mark) =>
    shape("text", { x: at(mark), y: 11 }, mark.toLocaleString("en", form).replace("-", "\u2212")));
}

function upright(x, name) {
  return shape("line", { class: name, x1: x, x2: x, y1: 0, y2: "100%" });
}

/** A list of rows; a long one is collapsed until expanded. */
function chartRows(label, rows, axis) {
  const list = element("ol", { class: "plot", "aria-label": label }, ...rows, axis);
  if (rows.length <= ROWS_SHOWN) return list;
  const hide = (hidden) => rows.slice(ROWS_SHOWN).forEach((row) => (row.hidden = hidden));
  hide(true);
  const more = button(`Show all ${rows.length}`, null, () => {
    hide(false);
    more.remove();
  });
  return element("div", {}, list, more);
}

/**
 * Dots with intervals.
 *
 * title: of the axis; rows: {name, dots: [{mean, low, high, values, kind}], value, strong};
 * guide: a value that all rows are compared with, or null.
 */
function dotPlot(label, title, rows, guide = null) {
  const all = rows.flatMap((row) =>
    row.dots.flatMap((dot) => [dot.mean, dot.low, dot.high, ...(dot.values ?? [])]),
  );
  const [low, high] = extent([...all, guide]);
  const at = percentScale(low, high);
  const marks = ticks(low, high);
  const ground = () => [
    ...marks.map((mark) => upright(at(mark), "grid")),
    ...(has(guide) ? [upright(at(guide), "guide")] : []),
  ];
  const drawn = rows.map((row) =>
    chartRow(row.name, [...ground(), ...row.dots.flatMap((dot) => drawDot(dot, at))], row.value,
      row.strong),
  );
  return chartRows(label, drawn, axisRow(at, marks, title));
}

function drawDot(dot, at) {
  if (!has(dot.mean)) return [];
  const middle = "50%";
  const seeds = (dot.values ?? []).filter(has).map((value) =>
    shape("line", { class: `seed ${dot.kind}`, x1: at(value), x2: at(value), y1: "24%",
      y2: "76%" }),
  );
  const bar = has(dot.low) && has(dot.high)
    ? [shape("line", { class: `bar ${dot.kind}`, x1: at(dot.low), x2: at(dot.high), y1: middle,
        y2: middle })]
    : [];
  return [...seeds, ...bar,
    shape("circle", { class: `dot ${dot.kind}`, cx: at(dot.mean), cy: middle, r: 4.5 })];
}

/**
 * Bars of one or more parts.
 *
 * title: of the axis; rows: {name, parts: [{size, kind}], mark, value}; most: where the axis ends,
 * so that a bar beyond it is cut off there, with a gap near its end.
 */
function barChart(label, title, rows, most = null) {
  const ends = rows.map((row) =>
    Math.max(row.mark ?? 0, row.parts.reduce((sum, part) => sum + (part.size ?? 0), 0)),
  );
  const end = most ?? (ends.reduce((a, b) => Math.max(a, b), 0) || 1);
  const at = percentScale(0, end * 1.02);
  const marks = ticks(0, end).filter(Number.isInteger);
  const drawn = rows.map((row, i) => {
    let from = 0;
    const parts = row.parts.map((part) => {
      const size = Math.min(part.size ?? 0, end * 1.02 - from);
      const box = shape("rect", { class: `part ${part.kind}`, x: at(from), y: "24%",
        width: at(size), height: "52%" });
      from += size;
      return box;
    });
    const gap = ends[i] > end * 1.02
      ? [shape("rect", { class: "gap", x: at(end * 0.97), y: "14%", width: at(end * 0.012),
        height: "72%" })] : [];
    const mark = has(row.mark)
      ? [shape("line", { class: "mark", x1: at(row.mark), x2: at(row.mark), y1: "10%", y2: "90%" })]
      : [];
    return chartRow(row.name,
      [...marks.map((m) => upright(at(m), "grid")), ...parts, ...gap, ...mark], row.value);
  });
  return chartRows(label, drawn, axisRow(at, marks, title));
}

/** The legend of a chart; items are pairs of kind and label. */
function legend(items, drawKey) {
  return element(
    "ul",
    { class: "legend", "aria-label": "Legend" },
    ...items.map(([kind, words]) =>
      element("li", {}, shape("svg", { "aria-hidden": "true", width: 22, height: 12 },
        drawKey(kind)), words),
    ),
  );
}

function dotKey(kind) {
  return shape("g", {},
    shape("line", { class: `bar ${kind}`, x1: 2, x2: 20, y1: 6, y2: 6 }),
    shape("circle", { class: `dot ${kind}`, cx: 11, cy: 6, r: 4.5 }));
}

function barKey(kind) {
  return kind === "mark"
    ? shape("line", { class: "mark", x1: 11, x2: 11, y1: 0, y2: 12 })
    : shape("rect", { class: `part ${kind}`, x: 1, y: 2, width: 20, height: 8 });
}
