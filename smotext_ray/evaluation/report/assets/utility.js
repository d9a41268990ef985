// Utility compared with controls: one classifier and one metric at a time.

const ARM_GROUPS = WORDS.arms;
const ARM_WORDS = new Map(ARM_GROUPS.flatMap(([, arms]) => arms));
const OURS = ["synthetic_only", "real_and_synthetic", "weighted_by_class"];
const BASELINES = ["nothing", "real_only"];
const CLASSIFIER_WORDS = new Map(Object.entries(WORDS.classifiers));
const METRICS = Object.keys(WORDS.metrics);

function armWords(arm) {
  return ARM_WORDS.get(arm) ?? plain(arm);
}

function classifierWords(name) {
  return CLASSIFIER_WORDS.get(name) ?? plain(name);
}

function inOrder(found, known) {
  const present = new Set(found);
  return [...known.filter((name) => present.delete(name)), ...present];
}

function drawUtility(body, utility, raised) {
  const present = (key, known) => inOrder(utility.rows.map((row) => row[key]), known);
  const classifiers = present("classifier", [...CLASSIFIER_WORDS.keys()]);
  const metrics = present("metric", METRICS);
  const chosen = {
    classifier: classifiers[0],
    metric: metrics.includes("macro_f1") ? "macro_f1" : metrics[0],
  };
  const place = element("div", { class: "switched" });
  const update = () => place.replaceChildren(...utilityView(utility, chosen, raised));
  const choose = (key) => (value) => {
    chosen[key] = value;
    update();
  };
  body.append(
    element("div", { class: "controls" },
      switches("Classifier", "classifier", classifiers.map((name) => [name, classifierWords(name)]),
        chosen.classifier, choose("classifier")),
      switches("Metric", "metric", metrics.map((name) => [name, plain(name)]),
        chosen.metric, choose("metric"))),
    place,
  );
  update();
  const alone = Object.entries(utility.tstr_ratio ?? {}).filter(([, found]) => isGroup(found));
  if (alone.length) body.append(tstrTable(alone));
}

/** Trained on synthetic texts alone over trained on real ones alone, both tested on real ones. */
function tstrTable(ratios) {
  const metrics = inOrder(ratios.flatMap(([, found]) => Object.keys(found)), METRICS);
  return table("Synthetic texts alone over real texts alone (TSTR / TRTR)",
    ["classifier", ...metrics.map(plain)],
    ratios.map(([name, found]) =>
      [classifierWords(name), ...metrics.map((metric) => reading(found[metric], score))]));
}

function utilityView(utility, { classifier, metric }, raised) {
  const rows = utility.rows.filter((row) => row.classifier === classifier);
  const shown = new Map(rows.filter((row) => row.metric === metric).map((row) => [row.arm, row]));
  const gains = (utility.gains ?? []).filter(
    (gain) => gain.classifier === classifier && gain.metric === metric);
  const seeds = utility.seeds?.length ? `${utility.seeds.length} seeds` : "";
  const test = has(utility.test_rows) ? `${number(utility.test_rows)} test rows` : "";
  return [
    element("h3", {}, `${plain(metric)}, ${classifierWords(classifier)}`,
      element("small", {}, [test, seeds].filter(Boolean).join(", "))),
    verdict(shown, (utility.verdicts ?? []).find(
      (found) => found.classifier === classifier && found.metric === "macro_f1")),
    armPlot(shown, metric),
    utilityTable(rows, classifier),
    ...gainsView(gains),
    ...recallView((utility.recall ?? []).filter((row) => row.classifier === classifier), raised),
  ];
}

function armPlot(shown, metric) {
  const groups = [...ARM_GROUPS];
  const other = [...shown.keys()].filter((arm) => !ARM_WORDS.has(arm));
  if (other.length) groups.push(["Other", other.map((arm) => [arm, plain(arm)])]);
  const rows = groups.flatMap(([, arms]) => arms.filter(([arm]) => shown.has(arm)))
    .map(([arm, name]) => {
      const row = shown.get(arm);
      const kind = OURS.includes(arm) ? "ours" : BASELINES.includes(arm) ? "base" : "control";
      return { name, dots: [{ ...row, kind }], value: reading(row, score),
        strong: OURS.includes(arm) };
    });
  const guide = shown.get("real_and_synthetic")?.mean ?? null;
  return dotPlot(`${plain(metric)} of each arm`, plain(metric), rows, guide);
}

function utilityTable(rows, classifier) {
  const arms = inOrder(rows.map((row) => row.arm), [...ARM_WORDS.keys()]);
  const metrics = inOrder(rows.map((row) => row.metric), METRICS);
  const cell = (arm, metric) =>
    reading(rows.find((row) => row.arm === arm && row.metric === metric) ?? null, score);
  return asTable(`Utility, ${classifierWords(classifier)}`, ["arm", ...metrics.map(plain)],
    arms.map((arm) => [armWords(arm), ...metrics.map((metric) => cell(arm, metric))]));
}

/** The gain in one sentence. */
function verdict(shown, found) {
  const ours = shown.get("real_and_synthetic");
  const rivals = [...shown.values()].filter(
    (row) => ![...OURS, ...BASELINES].includes(row.arm) && !row.arm.startsWith("as_many_as_")
      && has(row.mean));
  if (!ours || !rivals.length) return null;
  const best = rivals.reduce((a, b) => (b.mean > a.mean ? b : a));
  return element("p", { class: "verdict" },
    `Real + synthetic reaches ${score(ours.mean)}; the best other arm, `
    + `${armWords(best.arm)}, reaches ${score(best.mean)}. ${interpolationWords(found)}`);
}

/** Always by macro-F1, whatever metric is shown: a single verdict, not the best of three. */
function interpolationWords(found) {
  if (!found || !has(found.over_lam_0.low) || !has(found.over_label_only.low)) {
    return "Whether the gain comes from interpolation was not measured.";
  }
  if (found.counts) {
    return "By macro-F1, it significantly beats both the parents re-decoded and the class name only: "
      + "the gain is credited to interpolation.";
  }
  const missed = [["lam_0", found.over_lam_0], ["label_only", found.over_label_only]]
    .filter(([, over]) => !(over.mean > 0 && over.p < 0.05)).map(([arm]) => armWords(arm));
  return "By macro-F1, no gain is credited to interpolation: it does not significantly beat "
    + `${missed.join(" and ")}.`;
}

function gainsView(gains) {
  if (!gains.length) return [];
  const order = inOrder(gains.map((gain) => gain.against), [...ARM_WORDS.keys()]);
  const rows = order.flatMap((arm) => gains.filter((gain) => gain.against === arm)).map((gain) => ({
    name: `over ${armWords(gain.against)}`,
    dots: [{ ...gain, kind: gain.low > 0 ? "ours" : "base" }],
    value: reading(gain, signed),
  }));
  return [
    element("h3", {}, "Gain of real + synthetic",
      element("small", {}, "filled if the whole interval is above zero")),
    dotPlot("Gain of real + synthetic over each arm", "gain", rows, 0),
    asTable("Gain of real + synthetic", ["", "gain", "low", "high"],
      rows.map(({ name, dots: [dot] }) =>
        [name, signed(dot.mean), signed(dot.low), signed(dot.high)])),
  ];
}

function recallView(recall, raised) {
  if (!recall.length) return [];
  const arms = inOrder(recall.map((row) => row.arm), [...ARM_WORDS.keys()]);
  const ours = arms.includes("real_and_synthetic") ? "real_and_synthetic" : arms.at(-1);
  const others = arms.filter((arm) => arm !== ours);
  const place = element("div", {});
  const labels = raisedFirst([...new Set(recall.map((row) => row.label))], raised);
  const show = (other) => place.replaceChildren(...recallPlot(recall, labels, ours, other));
  show(others[0]);
  const picker = others.length > 1
    ? choice("compared with", others.map((arm) => [arm, armWords(arm)]), show) : null;
  const cell = (arm, label) =>
    reading(recall.find((row) => row.arm === arm && row.label === label) ?? null, score);
  return [
    element("h3", {}, "Recall per class"), picker, place,
    asTable("Recall per class", ["class", ...arms.map(armWords)],
      labels.map((label) => [label, ...arms.map((arm) => cell(arm, label))])),
  ];
}

function recallPlot(recall, labels, ours, other) {
  const find = (arm, label) => recall.find((row) => row.arm === arm && row.label === label);
  const rows = labels.map((label) => {
    const [before, after] = [find(other, label), find(ours, label)];
    const dots = [[before, "base"], [after, "ours"]]
      .filter(([row]) => row).map(([row, kind]) => ({ ...row, kind }));
    const value = before
      ? `${score(before.mean)} \u2192 ${score(after?.mean)}` : reading(after ?? null, score);
    return { name: String(label), dots, value };
  });
  const keys = [["ours", armWords(ours)]];
  if (other) keys.unshift(["base", armWords(other)]);
  return [legend(keys, dotKey), dotPlot("Recall of each class", "recall", rows)];
}
