"use strict";

// Elements, numbers and tables. The report's contents are only ever set as text: they come
// from a corpus and from a language model, and neither is trusted.

const SVG = document.querySelector("svg").namespaceURI;
const MISSING = "not measured";
const WORDS = carried("words");
const NAMES = new Map([...Object.entries(WORDS.metrics), ["tfidf", "TF-IDF"],
  ["self_bleu", "self-BLEU"], ["mauve", "MAUVE"], ["bert", "BERT"], ["distinct_1", "distinct-1"],
  ["distinct_2", "distinct-2"], ["distinct_3", "distinct-3"]]);

/** The JSON that an element of the page carries. */
function carried(id) {
  return JSON.parse(document.getElementById(id).textContent);
}

/** An HTML element; null and false attributes are omitted, children may be strings. */
function element(name, attributes = {}, ...children) {
  return dress(document.createElement(name), attributes, children);
}

/** An SVG element. */
function shape(name, attributes = {}, ...children) {
  return dress(document.createElementNS(SVG, name), attributes, children);
}

function dress(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) {
      node.setAttribute(name, value === true ? "" : value);
    }
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function has(value) {
  return value !== null && value !== undefined;
}

/** "1,234", "0.873", "12.3", "1.0e-5". */
function number(value) {
  if (!has(value)) return MISSING;
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const size = Math.abs(value);
  if (size < 0.0005) return value.toExponential(1);
  if (size < 10) return value.toFixed(3).replace("-", "\u2212");
  return value.toLocaleString("en", { maximumFractionDigits: 1 });
}

/** A score from 0 to 1, always with three decimals: 1 is 1.000 next to 0.873. */
function score(value) {
  return typeof value === "number" ? value.toFixed(3).replace("-", "\u2212") : number(value);
}

function signed(value) {
  return has(value) && value > 0 ? `+${score(value)}` : score(value);
}

/** "8.4%", "12%". */
function percent(share) {
  if (!has(share)) return MISSING;
  return `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)}%`;
}

/** "2026-11-29" of a time in ISO 8601. */
function day(time) {
  return /^\d{4}-\d\d-\d\d/.exec(time ?? "")?.[0] ?? time;
}

/** A leaf of the report as text: a number, a word, a list, or a mean with its interval. */
function reading(value, write = number) {
  if (Array.isArray(value)) return value.map((one) => write(one)).join(", ") || "none";
  if (!isMean(value)) return write(value);
  const { mean, low, high, q05, q95 } = value;
  if (has(q05)) return `${write(mean)} (90%: ${write(q05)} to ${write(q95)})`;
  return has(low) && has(high) ? `${write(mean)} (${write(low)} to ${write(high)})` : write(mean);
}

/** Whether this is a mean with an interval or with quantiles. */
function isMean(value) {
  return has(value) && typeof value === "object" && Object.hasOwn(value, "mean")
    && (Object.hasOwn(value, "low") || Object.hasOwn(value, "q05"));
}

/** Pairs of name and leaf; names of nested groups are joined, rows of their own are left out. */
function leaves(group, path = []) {
  if (isRows(group)) return [];
  if (!isGroup(group)) return [[path.join(", "), group]];
  return Object.entries(group).flatMap(([name, inner]) => leaves(inner, [...path, plain(name)]));
}

function isGroup(value) {
  return has(value) && typeof value === "object" && !Array.isArray(value) && !isMean(value);
}

/** Labels of classes, those with synthetic texts first. */
function raisedFirst(labels, raised) {
  const first = labels.filter((label) => raised.has(String(label)));
  return [...first, ...labels.filter((label) => !raised.has(String(label)))];
}

/** A list of objects, which needs a table of its own. */
function isRows(value) {
  return Array.isArray(value) && value.length > 0 && value.every(isGroup);
}

/** An identifier as words. */
function plain(name) {
  return NAMES.get(name) ?? String(name).replaceAll("_", " ");
}

function table(caption, columns, rows) {
  const side = columns.map((_, i) => (rows.every((row) => !isWords(row[i])) ? null : "words"));
  const head = columns.map((name, i) => element("th", { scope: "col", class: side[i] }, name));
  const body = rows.map(([first, ...rest]) =>
    element(
      "tr",
      {},
      element("th", { scope: "row", dir: "auto", class: "words" }, String(first)),
      ...rest.map((cell, i) => element("td", { class: side[i + 1] }, cell)),
    ),
  );
  const whole = element(
    "table",
    {},
    element("caption", {}, caption),
    element("thead", {}, element("tr", {}, ...head)),
    element("tbody", {}, ...body),
  );
  return element("div", { class: "scroll", role: "region", tabindex: 0, "aria-label": caption },
    whole);
}

function isWords(cell) {
  return cell !== "" && ![MISSING, "none"].includes(cell) && !/^[+\u2212-]?[\d.]/.test(cell);
}

/** A chart's numbers as a table, for reading and copying. */
function asTable(caption, columns, rows) {
  return element(
    "details",
    { class: "as-table" },
    element("summary", {}, "As a table"),
    table(caption, columns, rows),
  );
}

function note(...words) {
  return element("p", { class: "note" }, ...words);
}

function button(words, pressed, act) {
  const made = element("button", { type: "button", "aria-pressed": pressed }, words);
  made.addEventListener("click", () => act(made));
  return made;
}

/** A select with its label; options are pairs of value and label. */
function choice(words, options, act) {
  const select = element(
    "select",
    {},
    ...options.map(([value, shown]) => element("option", { value }, shown)),
  );
  select.addEventListener("change", () => act(select.value));
  return element("label", { class: "field" }, element("span", {}, words), select);
}

/** Radio buttons in a row; options are pairs of value and label. */
function switches(legend, name, options, chosen, act) {
  const set = element("fieldset", { class: "switch" }, element("legend", {}, legend));
  for (const [value, words] of options) {
    const input = element("input", { type: "radio", name, value, checked: value === chosen });
    input.addEventListener("change", () => act(value));
    set.append(element("label", {}, input, element("span", {}, words)));
  }
  return set;
}
