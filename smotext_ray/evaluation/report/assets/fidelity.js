// Fidelity and diversity: a card for each measure, and a table of the classes.

// [key, title, rows]: a row is [name, value]; a value is a path into the measure.
const CARDS = [
  ["round_trip", "Match with the target point", [
    ["cosine to its own point", "cosine"], ["cosine to other points", "to_other_points"]]],
  ["label_agreement", "Label agreement", [
    ["synthetic texts", "agreement"], ["real texts, in the same class mix", "ceiling"],
    ["likely mislabeled, synthetic", "label_issues"],
    ["likely mislabeled, real", "real_label_issues"]]],
  ["density_and_coverage", "Density and coverage of the test texts", [
    ["density", "overall.density"], ["coverage", "overall.coverage"],
    ["coverage if both were alike", "overall.expected_coverage"]]],
];
// [key, title, keys of the two sides, rows].
const SIDES = [
  ["diversity", "Diversity", ["real", "synthetic"], [
    ["distinct-1", "distinct_1"], ["distinct-2", "distinct_2"], ["distinct-3", "distinct_3"],
    ["self-BLEU, texts of one length", "self_bleu"],
    ["types per token, texts of one length", "type_token"],
    ["words, median", "length.median"]]],
  ["perplexity", "Perplexity of the LLM", ["real_texts", "new_texts"], [
    ["all tokens", "corpus"], ["a text, mean", "texts.mean"], ["tokens", "tokens"]]],
];

function drawFidelity(body, fidelity, classes) {
  const known = new Set([...CARDS, ...SIDES].map(([key]) => key).concat("decoded_texts"));
  const cards = [
    ...CARDS.filter(([key]) => isGroup(fidelity[key])).map(([key, title, rows]) =>
      pairs(title, present(rows, [fidelity[key]]))),
    ...SIDES.filter(([key]) => isGroup(fidelity[key])).map(([key, title, sides, rows]) =>
      table(title, ["", "real", "synthetic"], present(rows, sides.map((side) =>
        fidelity[key][side])))),
    ...(isGroup(fidelity.decoded_texts) ? [decodedTable(fidelity.decoded_texts)] : []),
    ...Object.entries(fidelity).filter(([key, value]) => !known.has(key) && has(value))
      .flatMap(([key, value]) => otherTables(key, value)),
  ];
  body.append(element("div", { class: "cards" }, ...cards));
  if (filled(classes)) body.append(classTable(classes));
}

/** A table of names and values, whose head says nothing. */
function pairs(title, rows) {
  const made = table(title, ["metric", "value"], rows);
  made.classList.add("pairs");
  return made;
}

/** The rows that were measured on one side at least. */
function present(rows, sides) {
  return rows.map(([name, path]) => [name, ...sides.map((side) => at(side, path))])
    .filter(([, ...values]) => values.some(has))
    .map(([name, ...values]) => [name, ...values.map((value) => reading(value ?? null))]);
}

function at(group, path) {
  return path.split(".").reduce((value, key) => value?.[key], group);
}

function decodedTable(decoded) {
  return table("Texts that passed the gate", 
    ["decoded from", "asked", "accepted", "share", "tokens for each"],
    Object.entries(decoded).map(([arm, { asked, accepted, tokens }]) =>
      [arm === "interpolated" ? "interpolated points" : armWords(arm), number(asked),
        number(accepted), asked ? percent(accepted / asked) : "",
        accepted && tokens ? number(Math.round(tokens / accepted)) : ""]));
}

/** A measure that has no card here: its values, and a table for each list of rows in it. */
function otherTables(key, value) {
  if (isRows(value)) return [tableOfRows(plain(key), value)];
  const rows = isGroup(value) ? leaves(value) : [[plain(key), value]];
  const lists = isGroup(value) ? Object.entries(value).filter(([, inner]) => isRows(inner)) : [];
  return [
    ...(rows.length ? [pairs(plain(key), rows.map(([name, inner]) => [name, reading(inner)]))]
      : []),
    ...lists.map(([name, inner]) => tableOfRows(`${plain(key)}, ${plain(name)}`, inner)),
  ];
}

/** Each cell has the figure of the synthetic texts, then that of the real ones. */
function classTable(classes) {
  const words = (value) => (has(value) ? number(Math.round(value)) : "?");
  const both = (one, other, write) => `${write(one)} / ${write(other)}`;
  return table("By class: synthetic / real texts",
    ["class", "texts", "label agreement", "cosine to the nearest real text", "words, median",
      "cosine to the point"],
    classes.map((row) => [
      row.label,
      both(row.synthetic, row.real, number),
      both(row.agreement, row.accuracy, part),
      both(row.synthetic_to_nearest, row.real_to_nearest, part),
      both(row.synthetic_words, row.real_words, words),
      part(row.to_point),
    ]));
}

function part(value) {
  return has(value) ? value.toFixed(2) : "?";
}
