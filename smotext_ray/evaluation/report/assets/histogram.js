// Histograms: outlines of equal area over a shared axis, which may be logarithmic.

function histogram(histogramData) {
  const { name, unit, series } = histogramData;
  const log = histogramData.scale === "log";
  const place = log ? Math.log10 : (value) => value;
  const usable = series.filter((one) => one.counts.length && one.edges.length > one.counts.length);
  const edges = usable.flatMap((one) => one.edges).map(place);
  const [low, high] = extent(edges);
  const shares = usable.map((one) => density(one, place));
  const top = shares.flat().reduce((a, b) => Math.max(a, b), 0) || 1;
  const x = (value) => ((1000 * (place(value) - low)) / (high - low)).toFixed(2);
  const y = (share) => (100 - (94 * share) / top).toFixed(2);
  const paths = usable.map((one, i) => {
    const steps = shares[i].map((share, k) => `V${y(share)}H${x(one.edges[k + 1])}`);
    const d = `M${x(one.edges[0])} 100${steps.join("")}V100`;
    return shape("path", { class: `outline s${i}`, d });
  });
  const scale = percentScale(low, high);
  const inner = 0.03 * (high - low); // a label at an end would stick out
  const marks = (log ? decades(10 ** low, 10 ** high) : ticks(low, high))
    .filter((mark) => place(mark) > low + inner && place(mark) < high - inner);
  const title = unit ? `${plain(name)} in ${unit}` : plain(name);
  return element(
    "figure",
    {},
    element("figcaption", {}, title.charAt(0).toUpperCase() + title.slice(1)),
    legend(usable.map((one, i) => [`s${i}`, `${one.name}, ${number(total(one))} texts`]),
      outlineKey),
    shape("svg", { class: "histogram", viewBox: "0 0 1000 100", preserveAspectRatio: "none",
      role: "img", "aria-label": `${title}: ${usable.map(inWords).join("; ")}` }, ...paths),
    shape("svg", { class: "histogram-axis", "aria-hidden": "true" },
      ...markWords((mark) => scale(place(mark)), marks)),
    element("p", { class: "axis-title" }, log ? `${title}, log scale` : title),
    asTable(title, ["group", "from", "to", "texts"], usable.flatMap((one) =>
      one.counts.map((count, k) =>
        [one.name, number(one.edges[k]), number(one.edges[k + 1]), number(count)]))),
  );
}

/** 1, 2, 5, 10, 20, 50 and so on from low to high. */
function decades(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power += 1) {
    found.push(...[1, 2, 5].map((n) => n * 10 ** power).filter((n) => n >= low && n <= high));
  }
  return found;
}

function total(one) {
  return one.counts.reduce((a, b) => a + b, 0);
}

function density(one, place) {
  const all = total(one) || 1;
  return one.counts.map((count, k) =>
    count / all / (place(one.edges[k + 1]) - place(one.edges[k]) || 1));
}

function inWords(one) {
  const peak = one.counts.indexOf(one.counts.reduce((a, b) => Math.max(a, b)));
  return `${one.name} most often from ${number(one.edges[peak])} to ${number(one.edges[peak + 1])}`;
}

function outlineKey(kind) {
  return shape("line", { class: `outline ${kind}`, x1: 1, x2: 21, y1: 6, y2: 6 });
}
