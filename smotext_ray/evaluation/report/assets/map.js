// The map: every class is two paths (rings for real texts, dots for synthetic ones), so that
// tens of thousands of points stay fast. A point is a stroke of zero length with a round or
// square cap, whose width does not scale: it is the same size on phones and desktops.

const COLORS = 8;
const REACH = 14; // maximum pixels from the pointer to the point it selects
const WAYS = new Map([["ArrowLeft", [-1, 0]], ["ArrowRight", [1, 0]], ["ArrowUp", [0, -1]],
  ["ArrowDown", [0, 1]]]);

function drawMap(body, map, samples, raised, goTo) {
  const points = placed(map.points);
  const labels = raisedFirst(byFrequency(points), raised);
  const state = {
    labels: new Set(firstShown(points, labels)),
    kinds: new Set(["real", "synthetic"]),
  };
  const mark = shape("circle", { class: "picked", r: 7, cx: -99, cy: -99 });
  // The first classes are drawn last, above the others.
  const drawn = labels.map((label, i) => [label, i]).reverse();
  const layers = ["real", "synthetic"].flatMap((kind) =>
    drawn.flatMap(([label, i]) => layer(points, label, i, kind)));
  const height = points.height;
  const svg = shape("svg", { viewBox: `-12 -12 1024 ${height + 24}`, "aria-hidden": "true" },
    ...layers.map(({ node }) => node), mark);
  const readout = element("p", { class: "readout", role: "status" });
  const picker = pick(svg, mark, readout, textsById(samples));
  const visible = () =>
    points.filter((point) => state.labels.has(point.label) && state.kinds.has(point.kind));
  const update = () => {
    for (const { node, label, kind } of layers) {
      node.style.display = state.labels.has(label) && state.kinds.has(kind) ? "" : "none";
    }
    picker.clear(visible());
  };
  const words = `${map.method ?? "Map"} of ${number(points.length)} texts; arrow keys move`;
  const stage = element("div",
    { class: "map", role: "application", tabindex: 0, "aria-label": words }, svg);
  listen(stage, svg, picker, goTo);
  body.append(kindSwitches(state, update), classSwitches(labels, state, update), stage,
    ...(filled(map.explained) ? [axesNote(map)] : []), readout);
  update();
}

function axesNote(map) {
  const [across, up] = map.explained.map(percent);
  return note(`Across: the first principal component of the real texts (${across} of the variance); `
    + `up: the second (${up}).`);
}

/** The points with x in 0..1000 and y downwards; the array also has the height. */
function placed(raw) {
  const points = raw.filter((point) => has(point.x) && has(point.y));
  const range = (key) => {
    const values = points.map((point) => point[key]);
    return [values.reduce((a, b) => Math.min(a, b), Infinity),
      values.reduce((a, b) => Math.max(a, b), -Infinity)];
  };
  const [[left, right], [low, high]] = [range("x"), range("y")];
  const wide = right - left || 1;
  const height = Math.min(900, Math.max(420, (1000 * (high - low)) / wide));
  const unit = Math.min(1000 / wide, height / (high - low || 1));
  const [padX, padY] = [(1000 - unit * wide) / 2, (height - unit * (high - low)) / 2];
  const found = points.map((point) => ({
    ...point,
    label: String(point.label),
    px: padX + unit * (point.x - left),
    py: padY + unit * (high - point.y),
  }));
  found.height = height;
  return found;
}

function byFrequency(points) {
  const counts = new Map();
  for (const { label } of points) counts.set(label, (counts.get(label) ?? 0) + 1);
  return [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a));
}

/** All classes, or the ones with the most synthetic texts if there are many. */
function firstShown(points, labels) {
  if (labels.length <= COLORS) return labels;
  const made = byFrequency(points.filter((point) => point.kind === "synthetic"));
  return (made.length ? made : labels).slice(0, COLORS);
}

function layer(points, label, i, kind) {
  const own = points.filter((point) => point.label === label && point.kind === kind);
  if (!own.length) return [];
  const d = own.map((point) => `M${point.px.toFixed(1)} ${point.py.toFixed(1)}h0`).join("");
  const color = `c${i % COLORS} ${Math.floor(i / COLORS) % 2 ? "square" : "round"}`;
  const strokes = [shape("path", { class: `points ${kind} ${color}`, d })];
  if (kind === "real") strokes.push(shape("path", { class: `points hole ${color}`, d }));
  return [{ node: shape("g", {}, ...strokes), label, kind }];
}

function kindSwitches(state, update) {
  const words = { real: "real texts", synthetic: "synthetic texts" };
  return element("div", { class: "toggles", role: "group", "aria-label": "Texts shown" },
    ...Object.keys(words).map((kind) => {
      const made = button("", "true", () => toggle(state.kinds, kind, made, update));
      made.append(mapKey(kind, "plain round"), words[kind]);
      return made;
    }));
}

function classSwitches(labels, state, update) {
  const box = element("div", { class: "toggles", role: "group", "aria-label": "Classes shown" });
  const buttons = labels.map((label, i) => {
    const color = `c${i % COLORS} ${Math.floor(i / COLORS) % 2 ? "square" : "round"}`;
    const made = button("", String(state.labels.has(label)), () =>
      toggle(state.labels, label, made, update));
    made.append(mapKey("synthetic", color), element("bdi", {}, label));
    return made;
  });
  const all = (shown) => () => {
    state.labels = new Set(shown ? labels : []);
    buttons.forEach((made) => made.setAttribute("aria-pressed", String(shown)));
    update();
  };
  box.append(...buttons, button("all", null, all(true)), button("none", null, all(false)));
  return box;
}

function toggle(set, value, made, update) {
  if (!set.delete(value)) set.add(value);
  made.setAttribute("aria-pressed", String(set.has(value)));
  update();
}

function mapKey(kind, color) {
  const d = "M6 6h0";
  const strokes = [shape("path", { class: `points ${kind} ${color}`, d })];
  if (kind === "real") strokes.push(shape("path", { class: `points hole ${color}`, d }));
  return shape("svg", { "aria-hidden": "true", width: 12, height: 12 }, ...strokes);
}

function textsById(samples) {
  return new Map((samples ?? []).map((sample) => [sample.sample_id, sample.text]));
}

/** The selected point: its mark on the map and its text below. */
function pick(svg, mark, readout, texts) {
  const picker = { points: [], point: null };
  picker.clear = (points) => {
    picker.points = points;
    picker.choose(null);
    readout.replaceChildren(`${number(points.length)} texts shown. Hover over one, or focus the map `
      + "and use the arrow keys, to read it; click or press Enter to see a synthetic text's sample.");
  };
  picker.choose = (point) => {
    picker.point = point;
    mark.setAttribute("cx", point ? point.px : -99);
    mark.setAttribute("cy", point ? point.py : -99);
    if (!point) return;
    const text = point.text ?? (point.kind === "synthetic" ? texts.get(point.id) : null);
    readout.replaceChildren(
      element("bdi", { class: "class" }, point.label),
      ` \u00b7 ${point.kind === "real" ? "real" : "synthetic"}${has(point.id) ? ` #${point.id}` : ""}`,
      has(text) ? element("span", { class: "text", dir: "auto" }, shortened(text, 240)) : "");
  };
  picker.at = (event) => {
    const matrix = svg.getScreenCTM().inverse();
    const spot = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix);
    const reach = REACH * matrix.a;
    let [best, near] = [null, reach * reach];
    for (const point of picker.points) {
      const far = (point.px - spot.x) ** 2 + (point.py - spot.y) ** 2;
      if (far < near) [best, near] = [point, far];
    }
    return best;
  };
  return picker;
}

function shortened(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}\u2026` : text;
}

function listen(stage, svg, picker, goTo) {
  const open = () => {
    if (picker.point?.kind === "synthetic") goTo(picker.point.id);
  };
  stage.addEventListener("pointermove", (event) => {
    const point = picker.at(event);
    if (point && point !== picker.point) picker.choose(point);
  });
  stage.addEventListener("click", (event) => {
    const point = picker.at(event);
    if (!point) return;
    // Touch has no hover: the first tap reads the point, the next one opens it.
    const read = event.pointerType === "mouse" || point === picker.tapped;
    picker.tapped = point;
    picker.choose(point);
    if (read) open();
  });
  stage.addEventListener("keydown", (event) => {
    const way = WAYS.get(event.key);
    if (event.key === "Enter") open();
    if (!way) return;
    event.preventDefault();
    picker.choose(neighbor(picker, way) ?? picker.point);
  });
}

/** The next point in a direction: close along it, and not far to the side. */
function neighbor({ points, point }, [dx, dy]) {
  if (!point) return points[0] ?? null;
  let [best, least] = [null, Infinity];
  for (const other of points) {
    const ahead = (other.px - point.px) * dx + (other.py - point.py) * dy;
    const aside = Math.abs((other.px - point.px) * dy) + Math.abs((other.py - point.py) * dx);
    if (ahead > 0.05 && ahead + 2 * aside < least) [best, least] = [other, ahead + 2 * aside];
  }
  return best;
}
