"use strict";
// The curves of all runs in one picture. The one under the pointer, or the one that was clicked, stands out.

const kinds = [...new Set(["validation loss", "training loss", ...runs.flatMap((run) => Object.keys(run.curves))])]
  .filter((kind) => runs.some((run) => run.curves[kind]?.length));
state.kind = kinds[0];
const drawn = runs.filter((run) => kinds.some((kind) => run.curves[kind]?.length));
const plot = el("div", { className: "plot" });
const readout = el("output");
const legend = el("div", { className: "legend" });
const curves = el("section", { id: "curves" },
  el("h2", { textContent: "Curves" }),
  el("div", { className: "tools" },
    select("curve", kinds, (i) => { state.kind = kinds[i]; update(); }),
    select("over", ["steps", "minutes"], (i) => { state.x = ["steps", "minutes"][i]; update(); }),
    el("label", {}, el("input", { type: "checkbox", checked: true, onchange: (event) => { state.log = event.target.checked; update(); } }), " logarithmic")),
  plot, readout, legend);

// Round numbers from low to high, about as many as `count`.
function ticks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++) found.push(i * step);
  return found;
}

function logTicks(low, high) {
  if (high / low < 8) return ticks(low, high, 5);
  const few = high / low > 1000 ? [1] : [1, 2, 5];
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) found.push(...few.map((factor) => factor * 10 ** power));
  return found.filter((value) => value >= low && value <= high);
}

// The lines of the runs that are shown: points as {x, y, step, minutes, value}, x and y in pixels once they are placed.
function linesOf(shown) {
  return shown.map((run) => ({
    run,
    points: (run.curves[state.kind] ?? [])
      .map(([step, minutes, value]) => ({ step, minutes, value, at: state.x === "steps" ? step : minutes }))
      .filter(({ at, value }) => at !== null && value !== null && (!state.log || value > 0)),
  })).filter((line) => line.points.length);
}

let lines = [];
function drawCurves(shown) {
  lines = linesOf(shown);
  const width = Math.max(280, plot.clientWidth), height = Math.round(Math.min(380, Math.max(220, width * 0.45)));
  const left = 58, right = width - 26, top = 12, bottom = height - 40;
  const points = lines.flatMap((line) => line.points);
  if (!points.length) {
    const why = state.x === "minutes" ? "No times are known of this curve." : "No points of this curve can be shown.";
    plot.replaceChildren(el("p", { textContent: why }));
    legend.replaceChildren();
    return;
  }
  const range = (values) => values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
  const last = range(points.map((point) => point.at))[1];
  let [low, high] = range(points.map((point) => point.value));
  if (low === high) [low, high] = [low - (Math.abs(low) || 1) / 2, high + (Math.abs(high) || 1) / 2];
  const scale = state.log ? Math.log : (value) => value;
  const placeX = (at) => left + (right - left) * (at / (last || 1));
  const placeY = (value) => bottom - (bottom - top) * ((scale(value) - scale(low)) / (scale(high) - scale(low)));
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `${state.kind} over ${state.x}` });
  for (const value of state.log ? logTicks(low, high) : ticks(low, high, 5)) {
    picture.append(svg("line", { class: "grid", x1: left, x2: right, y1: placeY(value), y2: placeY(value) }),
      svg("text", { x: left - 8, y: placeY(value) + 4, "text-anchor": "end" }, short(value)));
  }
  for (const at of ticks(0, last || 1, width / 110)) {
    picture.append(svg("text", { x: placeX(at), y: bottom + 18, "text-anchor": "middle" }, Number(short(at)).toLocaleString("en")));
  }
  picture.append(svg("text", { x: right, y: height - 5, "text-anchor": "end" }, state.x));
  for (const line of lines) {
    for (const point of line.points) [point.x, point.y] = [placeX(point.at), placeY(point.value)];
    const path = line.points.map(({ x, y }, i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
    line.marks = [svg("path", { class: "line", d: path })];
    // a short curve, such as a distance that was measured three times, shows its points
    if (line.points.length <= 20) line.marks.push(...line.points.map(({ x, y }) => svg("circle", { class: "dot", cx: x, cy: y, r: 3 })));
    line.marks.forEach((mark) => colour(mark, line.run));
    picture.append(...line.marks);
  }
  picture.addEventListener("pointermove", (event) => single(nearest(picture, event)));
  picture.addEventListener("pointerleave", () => single(null));
  picture.addEventListener("click", (event) => keep(nearest(picture, event)?.line.run.number ?? null));
  plot.replaceChildren(picture);
  drawLegend();
  single(null);
}

// Hues go around by the golden angle, so that neighbours in the list differ. They come close to each other after eight, of which
// every second group is dashed.
function colour(mark, run) {
  const i = drawn.indexOf(run);
  mark.style.setProperty("--hue", Math.round(210 + 137.5 * i) % 360);
  mark.classList.toggle("dashed", i % 16 >= 8);
}

function nearest(picture, event) {
  const box = picture.getBoundingClientRect();
  const [x, y] = [event.clientX - box.left, event.clientY - box.top];
  let best = null, least = 40;   // pixels within which a curve is meant
  for (const line of lines) for (const point of line.points) {
    const distance = Math.hypot(point.x - x, point.y - y);
    if (distance < least) [best, least] = [{ line, point }, distance];
  }
  return best;
}

// Make one run stand out: that under the pointer, else the one that was clicked.
function single(found) {
  state.hover = found ? found.line.run.number : null;
  const number = state.hover ?? state.single;
  for (const line of lines) {
    const faint = number !== null && line.run.number !== number;
    line.marks.forEach((mark) => mark.classList.toggle("faint", faint));
    line.button.classList.toggle("faint", faint);
    line.button.ariaPressed = String(line.run.number === state.single);
    if (line.run.number === number) line.marks.forEach((mark) => mark.parentNode?.append(mark));
  }
  const at = found?.point;
  const minutes = at && at.minutes !== null ? `, ${at.minutes.toFixed(1)} minutes` : "";
  readout.textContent = at ? `${found.line.run.name}: ${short(at.value)} at step ${at.step.toLocaleString("en")}${minutes}`
    : `Point at a curve to read it, click it to keep it singled out.${objectives() > 1 ? " Losses of different objectives do not compare." : ""}`;
}

const objectives = () => new Set(lines.map((line) => line.run.choices.objective)).size;

function keep(number) {
  state.single = state.single === number ? null : number;
  single(null);
}

function drawLegend() {
  for (const line of lines) {
    line.button = el("button", {
      textContent: line.run.name, onclick: () => keep(line.run.number),
      onpointerenter: () => single({ line, point: line.points[line.points.length - 1] }), onpointerleave: () => single(null),
    });
    colour(line.button, line.run);
  }
  legend.replaceChildren(...lines.map((line) => line.button));
}
