"use strict";
// The runs that are ticked, side by side: pictures, figures, and each choice and setting in which they differ.

const side = el("section", { id: "compare" });
function drawComparison() {
  const chosen = runs.filter((run) => state.picked.has(run.number));
  side.hidden = !chosen.length;
  const clear = el("button", { textContent: "clear", onclick: () => { state.picked.clear(); update(); } });
  const head = el("h2", {}, "Side by side ", clear);
  if (chosen.length < 2) return side.replaceChildren(head, el("p", { textContent: "Tick another run to compare it with this one." }));
  const row = (name, cells, className = "") => el("tr", { className }, el("th", { textContent: name }), ...cells.map((cell) => el("td", {}, cell)));
  const copies = (selector) => chosen.map((run) => run.card.querySelector(selector)?.cloneNode(true) ?? "none");
  const rows = [row("newest samples", copies(".picture"))];
  if (chosen.some((run) => run.card.querySelector(".drawn"))) rows.push(row("samples at equal noise", copies(".drawn")));
  rows.push(row("state", chosen.map((run) => run.state)));
  for (const loss of ["training", "validation"]) {
    const values = chosen.map((run) => (run.losses[loss] == null ? "" : short(run.losses[loss])));
    if (values.some(Boolean)) rows.push(row(`${loss} loss`, values));
  }
  for (const kind of new Set(chosen.flatMap((run) => run.distances.map(([metric, , protocol]) => `${metric} (${protocol})`)))) {
    rows.push(row(kind, chosen.map((run) => run.distances.find(([metric, , protocol]) => `${metric} (${protocol})` === kind)?.[1] ?? "")));
  }
  const keys = [...new Set(chosen.flatMap((run) => [...Object.keys(run.choices), ...Object.keys(run.settings)]))]
    .filter((key) => new Set(chosen.map((run) => setting(run, key))).size > 1);
  rows.push(...keys.map((key) => row(key, chosen.map((run) => setting(run, key) ?? "not set"), "differs")));
  const names = el("tr", {}, el("th"), ...chosen.map((run) => el("th", { textContent: run.name })));
  side.replaceChildren(head, el("p", { textContent: noiseOf(chosen) }),
    el("div", { className: "scroll" }, el("table", {}, el("thead", {}, names), el("tbody", {}, ...rows))),
    el("p", { textContent: `${keys.length} choices and settings differ; all others are the same.` }));
}

function noiseOf(chosen) {
  const noises = new Set(chosen.map((run) => run.noise));
  const [first] = noises;
  if (noises.size > 1) return "The newest samples do not begin with the same noise: seeds, shapes or kinds of noise differ, or a run draws none.";
  if (first === null) return "It is not known which noise the newest samples begin with.";
  return `The newest samples begin with the same noise, image by image (${first}), if the runs drew them on the same kind of device.`;
}
