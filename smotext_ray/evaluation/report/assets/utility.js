// Utility compared with controls: one classifier and one metric at a time.

const ARM_GROUPS = [
  ["Real texts", [["nothing", "no balancing"], ["real_only", "real only"]]],
  ["Standard baselines", [["class_weights", "class weights"],
    ["random_oversampling", "random oversampling"], ["embedding_smote", "SMOTE on embeddings"],
    ["embedding_borderline", "Borderline-SMOTE on embeddings"],
    ["embedding_adasyn", "ADASYN on embeddings"],
    ["embedding_kmeans", "KMeans-SMOTE on embeddings"],
    ["embedding_svm", "SVM-SMOTE on embeddings"], ["eda", "EDA"],
    ["eda_without_synonyms", "EDA without synonyms"], ["nearest_centroid", "nearest class mean"],
    ["prior_corrected", "prior corrected"]]],
  ["Controls for interpolation", [["label_only", "LLM, class name only"],
    ["shuffled", "vectors shuffled"], ["lam_0", "parents re-decoded (lam\u00a00)"]]],
  ["SMOTExT", [["synthetic_only", "synthetic only"], ["real_and_synthetic", "real + synthetic"]]],
];
const ARM_WORDS = new Map(ARM_GROUPS.flatMap(([, arms]) => arms));
const OURS = ["synthetic_only", "real_and_synthetic"];
const BASELINES = ["nothing", "real_only"];
const CLASSIFIER_WORDS = new Map([["embedding", "logistic regression on embeddings"],
  ["tfidf", "linear SVM on TF-IDF"], ["bert", "fine-tuned BERT"]]);
const METRICS = ["accuracy", "macro_f1", "balanced_accuracy"];

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

function drawUtility(body, utility) {
  const present = (key, known) => inOrder(utility.rows.map((row) => row[key]), known);
  const classifiers = present("classifier", [...CLASSIFIER_WORDS.keys()]);
  const metrics = present("metric", METRICS);
  const chosen = {
    classifier: classifiers[0],
    metric: metrics.includes("macro_f1") ? "macro_f1" : metrics[0],
  };
  const place = element("div", { class: "switched" });
  const update = () => place.replaceChildren(...utilityView(utility, chosen));
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
  if (has(utility.tstr_ratio)) {
    body.append(table("Synthetic only over real only (TSTR / TRTR)", ["", "ratio"],
      leaves(utility.tstr_ratio).map(([name, value]) => [name, reading(value)])));
  }
}

function utilityView(utility, { classifier, metric }) {
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
    ...recallView((utility.recall ?? []).filter((row) => row.classifier === classifier)),
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
      return { name, dots: [{ ...row, kind }], value: reading(row), strong: OURS.includes(arm) };
    });
  const guide = shown.get("real_and_synthetic")?.mean ?? null;
  return dotPlot(`${plain(metric)} of each arm`, rows, guide);
}

function utilityTable(rows, classifier) {
  const arms = inOrder(rows.map((row) => row.arm), [...ARM_WORDS.keys()]);
  const metrics = inOrder(rows.map((row) => row.metric), METRICS);
  const cell = (arm, metric) =>
    reading(rows.find((row) => row.arm === arm && row.metric === metric) ?? null);
  return asTable(`Utility, ${classifierWords(classifier)}`, ["arm", ...metrics.map(plain)],
    arms.map((arm) => [armWords(arm), ...metrics.map((metric) => cell(arm, metric))]));
}

/** The gain in one sentence. */
function verdict(shown, found) {
  const ours = shown.get("real_and_synthetic");
  const rivals = [...shown.values()].filter(
    (row) => ![...OURS, ...BASELINES].includes(row.arm) && has(row.mean));
  if (!ours || !rivals.length) return null;
  const best = rivals.reduce((a, b) => (b.mean > a.mean ? b : a));
  return element("p", { class: "verdict" },
    `Real + synthetic reaches ${number(ours.mean)}; the best other arm, `
    + `${armWords(best.arm)}, reaches ${number(best.mean)}. ${interpolationWords(found)}`);
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
    dotPlot("Gain of real + synthetic over each arm", rows, 0),
    asTable("Gain of real + synthetic", ["", "gain", "low", "high"],
      rows.map(({ name, dots: [dot] }) =>
        [name, signed(dot.mean), signed(dot.low), signed(dot.high)])),
  ];
}

function recallView(recall) {
  if (!recall.length) return [];
  const arms = inOrder(recall.map((row) => row.arm), [...ARM_WORDS.keys()]);
  const ours = arms.includes("real_and_synthetic") ? "real_and_synthetic" : arms.at(-1);
  const others = arms.filter((arm) => arm !== ours);
  const place = element("div", {});
  const show = (other) => place.replaceChildren(...recallPlot(recall, ours, other));
  show(others[0]);
  const picker = others.length > 1
    ? choice("compared with", others.map((arm) => [arm, armWords(arm)]), show) : null;
  const labels = [...new Set(recall.map((row) => row.label))];
  const cell = (arm, label) =>
    reading(recall.find((row) => row.arm === arm && row.label === label) ?? null);
  return [
    element("h3", {}, "Recall per class"), picker, place,
    asTable("Recall per class", ["class", ...arms.map(armWords)],
      labels.map((label) => [label, ...arms.map((arm) => cell(arm, label))])),
  ];
}

function recallPlot(recall, ours, other) {
  const find = (arm, label) => recall.find((row) => row.arm === arm && row.label === label);
  const rows = [...new Set(recall.map((row) => row.label))].map((label) => {
    const [before, after] = [find(other, label), find(ours, label)];
    const dots = [[before, "base"], [after, "ours"]]
      .filter(([row]) => row).map(([row, kind]) => ({ ...row, kind }));
    const value = before
      ? `${number(before.mean)} \u2192 ${number(after?.mean)}` : reading(after ?? null);
    return { name: String(label), dots, value };
  });
  const keys = [["ours", armWords(ours)]];
  if (other) keys.unshift(["base", armWords(other)]);
  return [legend(keys, dotKey), dotPlot("Recall of each class", rows)];
}
