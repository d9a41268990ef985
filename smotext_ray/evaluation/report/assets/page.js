// The sections, in page order.

function start() {
  const carried = (id) => JSON.parse(document.getElementById(id).textContent);
  const report = carried("report");
  const reasons = new Map(Object.entries(carried("words")));
  const withheld = has(report.privacy?.epsilon) ? "withheld (differential privacy)" : "not recorded";
  let goTo = () => {};
  const sections = [
    ["classes", filled(report.classes), drawClasses],
    ["utility", filled(report.utility?.rows), (body) => drawUtility(body, report.utility)],
    ["fidelity", filled(Object.keys(report.fidelity ?? {})), (body) =>
      drawFidelity(body, report.fidelity)],
    ["map", filled(report.map?.points), (body) =>
      drawMap(body, report.map, report.samples, (id) => goTo(id))],
    ["histograms", filled(report.histograms), drawHistograms],
    ["rejections", filled(report.rejections), (body, rows) =>
      drawRejections(body, rows, reasons)],
    ["copies", report.privacy, drawCopies],
    ["distillation", report.distillation, drawDistillation],
    ["samples", filled(report.samples), (body, rows) => {
      goTo = drawSamples(body, rows, reasons, withheld);
    }],
  ];
  drawRun(report.run ?? {});
  nameCopies(report.privacy ?? {});
  for (const [id, data, draw] of sections) drawSection(id, data, draw);
}

/** The list, or null if it is empty. */
function filled(list) {
  return list?.length ? list : null;
}

function drawSection(id, data, draw) {
  const body = document.querySelector(`#${id} > .body`);
  if (!has(data)) {
    body.append(element("p", { class: "missing" }, MISSING));
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

function drawRun(run) {
  document.getElementById("uri").textContent = run.uri ?? "A run";
  const judged = (run.accepted ?? 0) + (run.rejected ?? 0);
  const share = judged && run.rejected ? ` (${Math.round((100 * run.rejected) / judged)}%)` : "";
  const seed = has(run.seed) ? String(run.seed) : null; // a name, not a quantity
  document.querySelector("header.page > h1").after(factList([
    ["Corpus rows", run.rows], ["Accepted", run.accepted],
    ["Rejected", number(run.rejected) + share], ["Encoder", run.encoder], ["LLM", run.llm],
    ["Bridge", run.bridge], ["Seed", seed], ["Created", run.created],
  ]));
}

/** Pairs of name and value on a line. */
function factList(facts) {
  return element("dl", { class: "facts" }, ...facts.map(([name, value]) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, number(value)))));
}

function drawClasses(body, classes) {
  const sorted = [...classes].sort((a, b) => (b.real ?? 0) - (a.real ?? 0));
  const rows = sorted.map((row) => ({
    name: String(row.label),
    parts: [{ size: row.real, kind: "base" }, { size: row.accepted, kind: "ours" }],
    mark: row.target,
    value: row.accepted
      ? `${number(row.real)} \u2192 ${number((row.real ?? 0) + row.accepted)}` : number(row.real),
  }));
  body.append(
    legend([["base", "real"], ["ours", "accepted synthetic texts"], ["mark", "target"]], barKey),
    barChart("Rows of each class, before and after", rows),
    asTable("Class balance", ["class", "real", "accepted", "after", "target"],
      sorted.map((row) => [row.label, number(row.real), number(row.accepted),
        number((row.real ?? 0) + (row.accepted ?? 0)),
        has(row.target) ? number(row.target) : "none"])),
  );
}

function drawFidelity(body, fidelity) {
  const groups = new Map();
  for (const [name, value] of Object.entries(fidelity)) {
    const rows = isGroup(value) ? leaves(value) : [[plain(name), value]];
    const key = isGroup(value) ? plain(name) : "overall";
    groups.set(key, [...(groups.get(key) ?? []), ...rows]);
  }
  body.append(element("div", { class: "cards" }, ...[...groups].map(([name, rows]) =>
    table(name, ["metric", "value"], rows.map(([measure, value]) => [measure, reading(value)])))));
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
  body.append(barChart("Rejected texts by reason", rows),
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
    ? "Embeddings were clipped and noise was added once per record; later steps use no more of the "
      + "privacy budget. The measurements below are sanity checks, not the guarantee."
    : "Counts of copies, and results of attacks on this run. No noise was added: this is not a "
      + "privacy guarantee, and other attacks may find more.";
}

function drawCopies(body, privacy) {
  const guarded = has(privacy.epsilon);
  if (guarded) {
    body.append(factList([["\u03b5", privacy.epsilon], ["\u03b4", privacy.delta],
      ["Sensitivity", privacy.sensitivity], ["Labels", privacy.labels]]));
  }
  const rows = (privacy.rows ?? []).map(
    (row) => [plain(row.name), reading(row.value), row.note ?? ""]);
  const caption = guarded ? `Checks at \u03b5 = ${number(privacy.epsilon)}` : "Checks of this run";
  body.append(rows.length ? table(caption, ["check", "value", "note"], rows)
    : element("p", { class: "missing" }, MISSING));
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
        value: reading(row),
      }));
    return [element("h3", {}, `Utility by \u03b5`, element("small", {}, group)),
      dotPlot(`Utility by epsilon, ${group}`, rows)];
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
  const cell = (value) => (typeof value === "string" ? plain(value) : reading(value ?? null));
  return table(caption, columns.map(plain),
    rows.map((row) => columns.map((key) => cell(row[key]))));
}

start();
