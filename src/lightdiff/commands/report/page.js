"use strict";
// The script of the report: sorts and filters the runs. curves.js draws their curves and compare.js puts runs side by side; page.py
// writes the three into the page one after the other. They load nothing.
//
// The cards are in the page already and can be read without it. `data` (data.py says its form) has the same as numbers. All that is
// chosen lies in `state`; whatever changes it calls `update`, which brings the page in line. Names and values from runs become
// text nodes, never HTML.

// Objects have no prototype, so that a setting of a run may be called "constructor".
const bare = (key, value) => (value && Object.getPrototypeOf(value) === Object.prototype ? Object.assign(Object.create(null), value) : value);
const data = JSON.parse(document.getElementById("data").textContent, bare);
const runs = data.runs.map((run, number) => ({ ...run, number, card: document.getElementById(`run-${number}`) }));
const main = document.querySelector("main");
const state = {
  words: [], sort: 0, falling: false, view: "cards", picked: new Set(),   // the list of runs
  kind: null, x: "steps", log: true, single: null, hover: null,           // the curves; single and hover are numbers of runs
};

// An element with properties and children; a child that is null is left out.
function el(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter((child) => child !== null));
  return element;
}

function svg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function select(label, options, onchange) {
  const box = el("select", { onchange: () => onchange(box.value) });
  box.append(...options.map((option, i) => el("option", { value: i, textContent: option })));
  return el("label", {}, `${label} `, box);
}

const short = (value) => String(Number(value.toPrecision(4)));
const setting = (run, key) => run.choices[key] ?? run.settings[key] ?? data.common[key];

// A column of the table: `value` is sorted by (missing ones come last), `text` is shown.
const columns = [
  { name: "run", value: (run) => run.number, text: (run) => run.name },
  { name: "state", value: (run) => run.state, text: (run) => run.state },
  { name: "training loss", value: (run) => run.losses.training },
  { name: "validation loss", value: (run) => run.losses.validation },
  // distances of different metrics do not compare, so they are sorted by the name of the metric first
  { name: "best distance", value: (run) => run.best?.[1], group: (run) => run.best?.[0], text: (run) => run.best && `${run.best[0]} ${short(run.best[1])}` },
  { name: "minutes", value: (run) => run.minutes, text: (run) => run.minutes?.toFixed(1) },
  { name: "what differs", value: (run) => differs(run), text: (run) => differs(run) },
].filter((column) => column.name === "run" || runs.some((run) => (column.value(run) ?? "") !== ""));

function differs(run) {
  return run.differs.map((key) => `${key}=${setting(run, key)}`).join(" ");
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b), "en", { numeric: true });
}

function inOrder() {
  const column = columns[state.sort];
  const missing = (run) => (column.value(run) ?? "") === "";
  const sign = state.falling ? -1 : 1;
  return [...runs].sort((a, b) =>
    missing(a) - missing(b) || (column.group && !missing(a) && compare(column.group(a), column.group(b))) ||
    sign * compare(column.value(a), column.value(b)) || a.number - b.number);
}

// What the filter looks through: name, state, and each choice and setting as it is typed.
for (const run of runs) {
  const all = { ...data.common, ...run.settings, ...run.choices };
  const pairs = Object.entries(all).map(([key, value]) => `${key}=${value}`);
  run.haystack = [run.name, run.state, ...pairs].join("\n").toLowerCase();
}
const visible = (run) => state.words.every((word) => run.haystack.includes(word));

const sorter = select("sort by", columns.map((column) => column.name), (i) => { state.sort = Number(i); update(); });
const direction = el("button", { title: "turn the order around", onclick: () => { state.falling = !state.falling; update(); } });
const viewer = el("button", { onclick: () => { state.view = state.view === "cards" ? "table" : "cards"; update(); } });
const found = el("output");
const tools = el("nav", { className: "tools" },
  el("input", {
    type: "search", placeholder: "filter: schedule=cosine done", ariaLabel: "filter the runs by words",
    oninput: (event) => { state.words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean); update(); },
  }),
  sorter, direction, viewer, found, theme());

// Light or dark: as the system is, unless chosen here. The choice is kept where the browser lets a page keep one.
function theme() {
  const names = ["as the system", "light", "dark"];
  const schemes = ["light dark", "light", "dark"];
  const apply = (i) => { document.documentElement.style.colorScheme = schemes[i]; };
  const box = select("colours", names, (i) => {
    apply(i);
    try { localStorage.setItem("lightdiff-colours", i); } catch { /* not kept */ }
  });
  try {
    const kept = Number(localStorage.getItem("lightdiff-colours"));
    if (schemes[kept]) { box.lastChild.value = kept; apply(kept); }
  } catch { /* as the system */ }
  return box;
}

function pick(run) {
  const box = el("input", {
    type: "checkbox", checked: state.picked.has(run.number), ariaLabel: `compare ${run.name}`,
    onchange: () => { state.picked[box.checked ? "add" : "delete"](run.number); update(); },
  });
  return box;
}

const picks = runs.map(pick);
runs.forEach((run, i) => run.card.querySelector(".links").append(el("label", { className: "pick" }, picks[i], " compare")));

const table = el("div", { className: "scroll", id: "table" });
function drawTable(shown) {
  const heads = columns.map((column, i) => {
    const sorted = state.sort === i ? (state.falling ? "descending" : "ascending") : "none";
    const turn = () => { state.falling = state.sort === i && !state.falling; state.sort = i; update(); };
    return el("th", { ariaSort: sorted }, el("button", { textContent: column.name, onclick: turn }));
  });
  const rows = shown.map((run) => el("tr", {}, el("td", {}, pick(run)), ...columns.map((column) => {
    const text = column.text ? column.text(run) : column.value(run) == null ? null : short(column.value(run));
    if (column.name === "what differs") return el("td", {}, el("div", { className: "clamped", textContent: text, title: text }));
    if (column.name !== "run") return el("td", { textContent: text ?? "" });
    const toCard = () => { state.view = "cards"; update(); };
    return el("td", {}, el("a", { href: `#run-${run.number}`, textContent: text, onclick: toCard }));
  })));
  table.replaceChildren(el("table", {}, el("thead", {}, el("tr", {}, el("th"), ...heads)), el("tbody", {}, ...rows)));
}

// Bring the page in line with `state`.
function update() {
  const order = inOrder();
  const shown = order.filter(visible);
  for (const run of order) run.card.hidden = !visible(run);
  main.append(...order.map((run) => run.card));
  picks.forEach((box, i) => { box.checked = state.picked.has(i); });
  sorter.lastChild.value = state.sort;
  direction.textContent = state.falling ? "↓ falling" : "↑ rising";
  viewer.textContent = state.view === "cards" ? "show a table" : "show cards";
  found.textContent = `${shown.length} of ${runs.length} runs`;
  main.hidden = state.view !== "cards";
  table.hidden = state.view === "cards";
  if (!table.hidden) drawTable(shown);
  if (kinds.length) drawCurves(shown);
  drawComparison();
}

// At this event the other files have run as well.
document.addEventListener("DOMContentLoaded", () => {
  main.before(...(kinds.length ? [curves] : []), tools, side, table);
  update();
  if (kinds.length) addEventListener("resize", () => drawCurves(inOrder().filter(visible)));
});
