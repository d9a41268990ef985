// The sections, in page order.

function start() {
  const report = carried("report");
  const reasons = new Map(Object.entries(WORDS.reasons));
  const withheld = has(report.privacy?.epsilon) ? "withheld (differential privacy)" : "not recorded";
  const raised = new Set((report.classes ?? []).filter((row) => row.accepted)
    .map((row) => String(row.label)));
  let goTo = () => {};
  const sections = [
    ["classes", filled(report.classes), drawClasses],
    ["utility", filled(report.utility?.rows), (body) => drawUtility(body, report.utility, raised)],
    ["fidelity", filled(Object.keys(report.fidelity ?? {})), (body) =>
      drawFidelity(body, report.fidelity, report.by_class)],
    ["map", filled(report.map?.points), (body) =>
      drawMap(body, report.map, report.samples, raised, (id) => goTo(id))],
    ["histograms", filled(report.histograms), drawHistograms],
    ["rejections", filled(report.rejections), (body, rows) =>
      drawRejections(body, rows, reasons)],
    ["copies", report.privacy, drawCopies],
    ["distillation", report.distillation, drawDistillation],
    ["samples", filled(report.samples), (body, rows) => {
      goTo = drawSamples(body, rows, reasons, withheld);
    }],
    ["unmeasured", filled(report.summary?.unmeasured), drawUnmeasured],
  ];
  drawSummary(report.summary ?? {}, report.run ?? {});
  nameCopies(report.privacy ?? {});
  for (const [id, data, draw] of sections) drawSection(id, data, draw);
}

/** The list, or null if it is empty. */
function filled(list) {
  return list?.length ? list : null;
}

/** What was not measured is not shown here; the last section lists it. */
function drawSection(id, data, draw) {
  const body = document.querySelector(`#${id} > .body`);
  if (!has(data)) {
    document.getElementById(id).hidden = true;
    document.querySelector(`nav a[href="#${id}"]`).hidden = true;
    return;
  }
  try {
    draw(body, data);
  } catch (error) {
    // A malformed section must not break the others.
    const words = `Cannot draw this section: ${error.message}`;
    body.replaceChildren(element("p", { class: "missing" }, words));
    console.error(error);
  }
}

const REACH_OF_BALANCE = 3; // the axis ends at this many times the largest raised class

function drawClasses(body, classes) {
  const after = (row) => (row.real ?? 0) + (row.accepted ?? 0);
  const raised = (row) => Number((row.accepted ?? 0) > 0);
  const sorted = [...classes].sort(
    (a, b) => raised(b) - raised(a) || (b.accepted ?? 0) - (a.accepted ?? 0)
      || (b.real ?? 0) - (a.real ?? 0));
  const rows = sorted.map((row) => ({
    name: String(row.label),
    parts: [{ size: row.real, kind: "base" }, { size: row.accepted, kind: "ours" }],
    mark: row.target,
    value: row.accepted ? `${number(row.real)} \u2192 ${number(after(row))}` : number(row.real),
  }));
  const reach = REACH_OF_BALANCE * Math.max(0, ...sorted.filter(raised).map(after));
  const most = reach && sorted.some((row) => after(row) > reach) ? reach : null;
  body.append(
    legend([["base", "real"], ["ours", "synthetic"], ["mark", "target"]], barKey),
    barChart("Rows of each class, before and after", "rows", rows, most),
    ...(most ? [note("Bars with a gap go on beyond the axis.")] : []),
    asTable("Class balance", ["class", "real", "synthetic", "after", "target"],
      sorted.map((row) => [row.label, number(row.real), number(row.accepted), number(after(row)),
        has(row.target) ? number(row.target) : "none"])),
  );
}

function drawHistograms(body, histograms) {
  body.append(element("div", { class: "cards" }, ...histograms.map(histogram)));
}

function drawRejections(body, rejections, words) {
  const sorted = [...rejections].sort((a, b) => b.count - a.count);
  const total = sorted.reduce((sum, row) => sum + row.count, 0) || 1;
  const rows = sorted.map((row) => ({
    name: words.get(row.reason) ?? plain(row.reason),
    parts: [{ size: row.count, kind: "base" }],
    value: `${number(row.count)} (${Math.round((100 * row.count) / total)}%)`,
  }));
  body.append(barChart("Rejected texts by reason", "texts", rows),
    asTable("Rejections", ["reason", "meaning", "texts"],
      sorted.map((row) => [row.reason, words.get(row.reason) ?? "", number(row.count)])));
}

/** Only a run with epsilon may call this section more than a copy check. */
function nameCopies(privacy) {
  const guarded = has(privacy.epsilon);
  const epsilon = `\u03b5\u00a0=\u00a0${number(privacy.epsilon)}`;
  document.getElementById("copies-title").textContent = guarded
    ? `Differential privacy, ${epsilon}` : "Copy check";
  document.getElementById("to-copies").textContent = guarded ? epsilon : "Copies";
  document.getElementById("copies-note").textContent = guarded
    ? "Noise was added once to a count and a sum per class; later steps use no more of the privacy "
      + "budget. The measurements below are sanity checks, not the guarantee."
    : "Counts of copies, and results of attacks on this run. No noise was added: this is not a "
      + "privacy guarantee, and other attacks may find more.";
}

function drawCopies(body, privacy) {
  const guarded = has(privacy.epsilon);
  if (guarded) {
    body.append(factList([["\u03b5", privacy.epsilon], ["\u03b4", privacy.delta],
      ["Sensitivity", privacy.sensitivity], ["Protected", privacy.neighbors],
      ["Labels", privacy.labels], ["Public", privacy.public_data], ["Assumed", privacy.assumes]]
      .filter(([, value]) => has(value))));
  }
  const rows = (privacy.rows ?? []).map(
    (row) => [plain(row.name), reading(row.value), row.note ?? ""]);
  const caption = guarded ? `Checks at \u03b5 = ${number(privacy.epsilon)}` : "Checks of this run";
  if (rows.length) body.append(table(caption, ["check", "value", "note"], rows));
  if (filled(privacy.utility)) body.append(...epsilonView(privacy.utility));
}

function epsilonView(utility) {
  const groupOf = (row) => `${plain(row.metric)}, ${classifierWords(row.classifier)}`;
  return [...new Set(utility.map(groupOf))].flatMap((group) => {
    const rows = utility.filter((row) => groupOf(row) === group)
      .sort((a, b) => (a.epsilon ?? Infinity) - (b.epsilon ?? Infinity))
      .map((row) => ({
        name: has(row.epsilon) ? `\u03b5 = ${number(row.epsilon)}` : "no noise",
        dots: [{ ...row, kind: has(row.epsilon) ? "ours" : "base" }],
        value: reading(row, score),
      }));
    return [element("h3", {}, `Utility by \u03b5`, element("small", {}, group)),
      dotPlot(`Utility by epsilon, ${group}`, group.split(",")[0], rows)];
  });
}

function drawDistillation(body, distillation) {
  body.append(factList([["Teacher", distillation.teacher], ["Student", distillation.student]]));
  if (has(distillation.note)) body.append(element("p", {}, distillation.note));
  for (const [caption, rows] of [["Student compared with teacher", distillation.rows],
    ["Agreement with the teacher on the test texts", distillation.agreement]]) {
    if (filled(rows)) body.append(tableOfRows(caption, rows));
  }
}

/** Rows of names and values; the names become columns. */
function tableOfRows(caption, rows) {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const cell = (value) => {
    if (typeof value === "string") return plain(value);
    return isGroup(value) ? JSON.stringify(value) : reading(value ?? null);
  };
  return table(caption, columns.map(plain),
    rows.map((row) => columns.map((key) => cell(row[key]))));
}

start();
