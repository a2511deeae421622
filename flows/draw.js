"use strict";
// Everything that came from data is set with textContent: it is text, whatever it says.
const { runs, rows } = JSON.parse(document.getElementById("data").textContent);
const STEP = 200;
const $ = (id) => document.getElementById(id);
const many = runs.length > 1;
let shown = STEP, found = rows, opened = -1, opener = null;

function make(tag, attributes = {}, ...inside) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== undefined) element.setAttribute(name, value);
  element.append(...inside.filter((each) => each !== null && each !== undefined).map((each) => (each instanceof Node ? each : String(each))));
  return element;
}

function draw(tag, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

const seconds = (value) => {
  if (value === null || value === undefined) return "";
  if (value < 0.001) return "0 ms";
  if (value < 1) return `${(value * 1000).toPrecision(value < 0.01 ? 2 : 3)} ms`;
  return value < 60 ? `${value.toFixed(2)} s` : `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;
};
const whole = (value) => value.toLocaleString("en");
const money = (value) => (value === null || value === undefined ? "" : `$${value.toPrecision(3)}`);
const tone = (status) => ({ Completed: "good", FINISHED: "good", Failed: "bad", FAILED: "bad", KILLED: "bad", Waiting: "wait", PAUSED: "wait" })[status] || "quiet";
const mark = (status) => make("span", { class: tone(status) }, { good: "✓ ", bad: "✗ ", wait: "… ", quiet: "– " }[tone(status)] + status);

function row(heading, values, number) {
  if (values.every((value) => value === null || value === undefined || value === "")) return [];
  const cells = values.map((value) => make("td", number ? { class: "number" } : {}, value ?? ""));
  return [make("tr", {}, make("th", { scope: "row" }, heading), ...cells)];
}

function summary() {
  const metrics = [...new Set(runs.flatMap((run) => Object.keys(run.metrics)))];
  const each = (take) => runs.map(take);
  $("summary").append(
    make("thead", {}, make("tr", {}, make("td"), ...runs.map((run) => make("th", { scope: "col" }, run.name)))),
    make("tbody", {},
      ...row("status", each((run) => mark(run.status))),
      ...row("error", each((run) => run.error)),
      ...row("lines", each((run) => {
        const words = Object.entries(run.lines).filter(([name, count]) => count || name === "completed");
        return words.map(([name, count]) => `${whole(count)} ${name}`).join(", ");
      })),
      ...row("started", each((run) => new Date(run.started * 1000).toLocaleString())),
      ...row("took", each((run) => seconds(run.seconds))),
      ...row("tokens", each((run) => (run.tokens[0] + run.tokens[1] ? `${whole(run.tokens[0])} in, ${whole(run.tokens[1])} out` : null))),
      ...row("cost", each((run) => money(run.cost))),
      ...row("flow", each((run) => run.about.flow)),
      ...row("version", each((run) => run.about.version)),
      ...row("variant", each((run) => run.about.variant)),
      ...row("data", each((run) => run.about.data)),
      ...metrics.flatMap((name) => row(name, each((run) => (name in run.metrics ? Number(run.metrics[name]).toPrecision(4) : null)))),
    ),
  );
}

function graph(run) {
  const room = $("graph").clientWidth;
  const [right, down] = run.pictures;
  const picture = right.width > room && down.width < right.width ? down : right;
  const svg = draw("svg", { width: picture.width, height: picture.height, viewBox: `0 0 ${picture.width} ${picture.height}`, role: "img",
    "aria-label": `${picture.boxes.length} nodes and ${picture.arrows.length} arrows` });
  const arrow = draw("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" });
  arrow.append(draw("path", { d: "M0,0 L8,4 L0,8 z" }));
  const defs = draw("defs", {});
  defs.append(arrow);
  svg.append(defs);
  for (const [x1, y1, x2, y2] of picture.arrows) {
    const bend = (picture.down ? y2 - y1 : x2 - x1) / 2;
    const d = picture.down ? `M${x1},${y1} C${x1},${y1 + bend} ${x2},${y2 - bend} ${x2},${y2}` : `M${x1},${y1} C${x1 + bend},${y1} ${x2 - bend},${y2} ${x2},${y2}`;
    svg.append(draw("path", { class: "arrow", d, "marker-end": "url(#arrow)" }));
  }
  for (const box of picture.boxes) svg.append(drawn(box, run.nodes.find((node) => node.name === box.name)));
  $("graph").replaceChildren(svg);
}

function drawn(box, node) {
  const group = draw("g", { class: `box ${node.tone}`, transform: `translate(${box.x},${box.y})` });
  const name = node.name.length > 22 ? `${node.name.slice(0, 21)}…` : node.name;
  const facts = [node.aggregation && !Object.keys(node.statuses).length ? "after all lines" : seconds(node.mean), node.tokens ? `${whole(node.tokens)} tokens` : ""];
  group.append(
    draw("title", {}, `${node.type} ${node.name}: ${counts(node)}`),
    draw("rect", { width: box.width, height: box.height, rx: 8 }),
    draw("rect", { class: "mark", x: 7, y: 9, width: 4, height: box.height - 18, rx: 2 }),
    draw("text", { class: "small", x: 19, y: 17 }, node.type),
    draw("text", { class: "name", x: 19, y: 33 }, name),
    draw("text", { class: "small", x: 19, y: 49 }, facts.filter(Boolean).join(" · ")),
  );
  if (node.statuses.Failed) group.append(draw("text", { class: "small", x: box.width - 10, y: 17, "text-anchor": "end" }, `${whole(node.statuses.Failed)} failed`));
  return group;
}

const counts = (node) => Object.entries(node.statuses).map(([status, count]) => `${whole(count)} ${status.toLowerCase()}`).join(", ") || "not run in lines";

function nodes(run) {
  const right = (text) => make("td", { class: "number" }, text);
  const listed = run.nodes.map((node) => make("tr", {}, make("td", {}, make("b", {}, node.name)), make("td", { class: "quiet" }, node.type),
    make("td", { class: node.tone }, counts(node)), right(seconds(node.mean)), right(seconds(node.slowest)), right(node.tokens ? whole(node.tokens) : ""), right(money(node.cost))));
  const heads = ["node", "type", "lines"].map((text) => make("th", {}, text)).concat(["mean", "slowest", "tokens", "cost"].map((text) => make("th", { class: "number" }, text)));
  $("nodes").replaceChildren(make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...listed));
}

function choose(place) {
  [...$("tabs").children].forEach((tab, index) => tab.setAttribute("aria-pressed", String(index === place)));
  graph(runs[place]);
  nodes(runs[place]);
  chosen = place;
}
let chosen = 0;

const differs = (cells) => new Set(cells.map((cell) => (cell ? cell.outputs ?? cell.error : null))).size > 1;

function filter() {
  const words = $("words").value.toLowerCase().split(/\s+/).filter(Boolean);
  const status = $("status").value;
  found = rows.filter(({ number, cells }) => {
    if (status && !cells.some((cell) => cell && cell.status === status)) return false;
    if (many && $("different").checked && !differs(cells)) return false;
    const text = [number, ...cells.flatMap((cell) => (cell ? [cell.inputs, cell.outputs, cell.error] : []))].join("\n").toLowerCase();
    return words.every((word) => text.includes(word));
  });
  shown = STEP;
  list();
}

function list() {
  const total = Math.max(...runs.map((run) => Object.values(run.lines).reduce((sum, count) => sum + count, 0)), rows.length);
  const kept = rows.length < total ? `; the page holds ${whole(rows.length)} of ${whole(total)}` : "";
  $("count").textContent = `${whole(found.length)}${kept}`;
  const heads = [make("th", { class: "number" }, "line"), make("th", {}, "inputs"), ...runs.map((run) => make("th", {}, many ? run.name : "outputs")), make("th", { class: "number" }, "took")];
  const body = make("tbody", {}, ...found.slice(0, shown).map((each, index) => {
    const open = make("button", { type: "button", class: "open", "aria-label": `Open line ${each.number}` }, each.number);
    const took = each.cells.filter(Boolean).map((cell) => seconds(cell.seconds)).join(" / ");
    const line = make("tr", { "data-line": each.number }, make("td", { class: "number" }, open), make("td", {}, clip(inputs(each))),
      ...each.cells.map((cell) => make("td", {}, cell ? answer(cell) : "—")), make("td", { class: "number quiet" }, took));
    line.addEventListener("click", () => { opener = open; show(index); });
    return line;
  }));
  $("lines").replaceChildren(make("thead", {}, make("tr", {}, ...heads)), body);
  $("more").hidden = found.length <= shown;
}

const inputs = (each) => flat(each.cells.find(Boolean).inputs);
const clip = (text) => make("div", { class: "clip" }, text);
const answer = (cell) => (cell.status === "Completed" ? clip(flat(cell.outputs)) : make("div", { class: `clip ${tone(cell.status)}` }, `${cell.status}: ${cell.error ?? ""}`));
// One value alone is told without its name.
function flat(text) {
  if (text === null) return "";
  try {
    const value = JSON.parse(text);
    const told = (each) => (typeof each === "string" ? each : JSON.stringify(each));
    return Object.entries(value).map(([key, each], _, all) => (all.length === 1 ? told(each) : `${key}: ${told(each)}`)).join("\n");
  } catch {
    return text;
  }
}

function show(index) {
  opened = index;
  const { number, cells } = found[index];
  $("line-title").textContent = `Line ${number}`;
  $("before").disabled = index === 0;
  $("after").disabled = index === found.length - 1;
  $("cells").replaceChildren(...cells.map((cell, place) => (cell ? detail(cell, runs[place]) : make("div", {}, make("h3", {}, runs[place].name), make("p", { class: "quiet" }, "This run has no such line, or the page does not hold it.")))));
  if (!$("line").open) $("line").showModal();
  $("line").scrollTop = 0;
}

const block = (heading, text, kind) => (text === null || text === undefined || text === "" ? null : make("div", {}, make("h4", {}, heading), make("pre", kind ? { class: kind } : {}, text)));

function detail(cell, run) {
  const facts = [seconds(cell.seconds), cell.tokens ? `${whole(cell.tokens)} tokens` : "", money(cell.cost)].filter(Boolean).join(" · ");
  return make("div", {}, make("h3", {}, many ? `${run.name} ` : "", mark(cell.status), make("span", { class: "quiet" }, ` ${facts}`)),
    block("error", cell.error, "bad"), block("inputs", cell.inputs), block("outputs", cell.outputs), make("h4", {}, "nodes"), ...cell.nodes.map((node) => step(node, cell)));
}

function step(node, cell) {
  const ended = Math.max(...cell.nodes.map((each) => each.began + each.seconds));
  const length = Math.max(ended - cell.began, 1e-9);
  const bar = make("i");
  bar.style.left = `${Math.min(99, (100 * Math.max(node.began - cell.began, 0)) / length)}%`;
  bar.style.width = `${Math.min(100, (100 * node.seconds) / length)}%`;
  const track = node.status === "Bypassed" ? null : make("span", { class: `track ${tone(node.status)}`, "aria-hidden": "true" }, bar);
  const facts = [node.status === "Bypassed" ? "" : seconds(node.seconds), node.tokens ? `${whole(node.tokens)} tokens` : "", money(node.cost)].filter(Boolean).join(" · ");
  const found = make("details", node.status === "Failed" ? { open: "" } : {},
    make("summary", {}, make("b", {}, node.name), make("span", { class: tone(node.status) }, node.status === "Completed" ? node.type : `${node.type}, ${node.status.toLowerCase()}`), make("span", { class: "right" }, facts), track),
    block("error", node.error, "bad"), block("inputs", node.inputs), block("output", node.status === "Completed" ? node.output : null), block("model", node.model), ...node.spans.map(span));
  return found;
}

function span(each) {
  const facts = [seconds(each.seconds), each.tokens ? `${whole(each.tokens)} tokens` : ""].filter(Boolean).join(" · ");
  const open = each.inputs !== "null" ? block("inputs", each.inputs) : null;
  return make("details", {}, make("summary", {}, make("span", {}, each.name), make("span", { class: "right" }, facts)), block("error", each.error, "bad"), open,
    each.output !== "null" ? block("output", each.output) : null, ...each.spans.map(span));
}

$("title").textContent = runs.map((run) => run.name).join(" · ");
$("about").textContent = [...new Set(runs.map((run) => run.about.flow).filter(Boolean))].join(" · ");
summary();
runs.forEach((run, place) => {
  const tab = make("button", { type: "button" }, run.name);
  tab.addEventListener("click", () => choose(place));
  $("tabs").append(tab);
});
$("tabs").hidden = !many;
$("differ").hidden = !many;
$("status").append(make("option", { value: "" }, "all lines"), ...[...new Set(rows.flatMap((each) => each.cells.filter(Boolean).map((cell) => cell.status)))].sort().map((status) => make("option", { value: status }, status.toLowerCase())));
choose(0);
filter();
$("filter").addEventListener("input", filter);
$("filter").addEventListener("submit", (event) => event.preventDefault());
$("more").addEventListener("click", () => { shown += STEP; list(); });
$("before").addEventListener("click", () => show(opened - 1));
$("after").addEventListener("click", () => show(opened + 1));
$("close").addEventListener("click", () => $("line").close());
$("line").addEventListener("click", (event) => { if (event.target === $("line")) $("line").close(); });
$("line").addEventListener("close", () => opener && opener.focus());
$("line").addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft" && opened > 0) show(opened - 1);
  if (event.key === "ArrowRight" && opened < found.length - 1) show(opened + 1);
});
window.addEventListener("resize", () => graph(runs[chosen]));
