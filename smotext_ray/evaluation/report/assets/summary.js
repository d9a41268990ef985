// The head of the page: the verdict for each classifier, what weakens it, and what was judged.

function drawSummary(summary, run) {
  const head = document.querySelector("header.page > h1");
  head.textContent = run.uri ?? "A run";
  const outcomes = (summary.verdicts ?? []).map(outcomeCard);
  const warnings = summary.warnings ?? [];
  head.after(
    ...(outcomes.length ? [element("div", { class: "outcomes" }, ...outcomes)] : []),
    ...(warnings.length ? [warningList(warnings)] : []),
    runFacts(run),
    ...(isGroup(run.settings) ? [settingsTable(run.settings)] : []),
  );
}

function outcomeCard(outcome) {
  const { gain, best_control: best, recall } = outcome;
  const arrow = (before, after, write) => `${write(before)} \u2192 ${write(after)}`;
  const interval = has(gain.low)
    ? `${signed(gain.mean)}, 95%: ${signed(gain.low)} to ${signed(gain.high)}`
    : `${signed(gain.mean)}, one seed`;
  const lines = [
    [plain(outcome.metric), arrow(outcome.before, outcome.after, score), interval],
    best ? ["best control", score(best.mean), armWords(best.arm)] : null,
    recall ? ["recall", arrow(recall.before, recall.after, (value) => value.toFixed(2)),
      `of ${recall.label}`] : null,
  ].filter(Boolean);
  return element("section", { class: `outcome ${CALLS.get(outcome.call) ?? ""}` },
    element("h2", {}, classifierWords(outcome.classifier)),
    element("p", { class: "call" }, `${outcome.words}.`),
    element("dl", {}, ...lines.map(([name, value, more]) => element("div", {},
      element("dt", {}, name), element("dd", {}, element("b", {}, value), " ",
        element("small", { dir: "auto" }, more))))));
}

const CALLS = new Map([["better", "yes"], ["not above the baseline", "yes"],
  ["below the best control", "mixed"], ["unclear", "mixed"], ["worse", "no"]]);

function warningList(warnings) {
  return element("section", { class: "warnings", "aria-label": "Warnings" },
    element("h2", {}, "Before you rely on it"),
    element("ul", {}, ...warnings.map((words) => element("li", { dir: "auto" }, words))));
}

function runFacts(run) {
  const judged = (run.accepted ?? 0) + (run.rejected ?? 0);
  const share = judged && run.rejected ? ` (${percent(run.rejected / judged)})` : "";
  const seed = has(run.seed) ? String(run.seed) : null; // a name, not a quantity
  const test = has(run.test_rows) ? `${run.test} (${number(run.test_rows)} texts)` : run.test;
  const facts = [
    ["Corpus rows", run.rows], ["Synthetic texts", run.synthetic ?? run.accepted],
    ["Rejected", has(run.rejected) ? number(run.rejected) + share : null], ["Test set", test],
    ["Encoder", run.encoder], ["LLM", run.llm], ["Bridge", run.bridge], ["Seed", seed],
    ["Run begun", day(run.created)], ["Measured", day(run.measured)],
    ["smotext-ray", run.version],
  ];
  return factList(facts.filter(([, value]) => has(value)));
}

/** Pairs of name and value on a line. */
function factList(facts) {
  return element("dl", { class: "facts" }, ...facts.map(([name, value]) =>
    element("div", {}, element("dt", {}, name), element("dd", { dir: "auto" }, number(value)))));
}

function settingsTable(settings) {
  const rows = Object.entries(settings).flatMap(([section, values]) =>
    Object.entries(values ?? {}).map(([name, value]) => [`${section}.${name}`, setting(value)]));
  return element("details", { class: "settings" }, element("summary", {}, "Settings of the run"),
    table("Settings", ["setting", "value"], rows));
}

function setting(value) {
  return isGroup(value) || Array.isArray(value) ? JSON.stringify(value) : String(value);
}

/** What was left out, each with the command that measures it. */
function drawUnmeasured(body, rows) {
  body.append(element("ul", { class: "unmeasured" }, ...rows.map(({ what, command }) =>
    element("li", {}, what.charAt(0).toUpperCase() + what.slice(1),
      has(command) ? element("code", {}, command) : null))));
}
