// Draws the graph that Python laid out. Text is set as text, never as markup, so that a name stays a name.
const SLACK = 1.2; // a little too wide is made smaller; much too wide is scrolled, so that it can be read
const NS = "http://www.w3.org/2000/svg";

function make(tag, attributes, text) {
  const element = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

function curve(edge, down) {
  const [x1, y1, x2, y2] = edge.points;
  const bend = (down ? y2 - y1 : x2 - x1) / 2;
  return down
    ? `M${x1},${y1} C${x1},${y1 + bend} ${x2},${y2 - bend} ${x2},${y2}`
    : `M${x1},${y1} C${x1 + bend},${y1} ${x2 - bend},${y2} ${x2},${y2}`;
}

function box(node, choose) {
  const group = make("g", {
    class: `node ${node.tone}${node.chosen ? " chosen" : ""}`,
    transform: `translate(${node.x},${node.y})`,
    tabindex: "0",
    role: "button",
    "aria-label": `${node.kind} ${node.title}${node.note ? ", " + node.note : ""}`,
    "data-node": node.id,
  });
  group.append(make("title", {}, `${node.kind} ${node.full}`));
  group.append(make("rect", { width: node.width, height: node.height, rx: 8 }));
  group.append(make("rect", { class: "mark", width: 4, height: node.height - 16, x: 7, y: 8, rx: 2 }));
  group.append(make("text", { class: "kind", x: 19, y: 19 }, node.kind));
  group.append(make("text", { class: "title", x: 19, y: 37 }, node.title));
  if (node.note) group.append(make("text", { class: "note", x: node.width - 10, y: 19, "text-anchor": "end" }, node.note));
  group.addEventListener("click", () => choose(node.id));
  group.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    choose(node.id);
  });
  return group;
}

export default function ({ data: ways, setTriggerValue, parentElement }) {
  const root = parentElement.querySelector(".graph");
  const [right, down] = ways;
  const data = right.width > root.clientWidth && down.width < right.width ? down : right;
  const svg = make("svg", {
    width: data.width,
    height: data.height,
    viewBox: `0 0 ${data.width} ${data.height}`,
    class: data.width <= SLACK * root.clientWidth ? "whole" : "",
    role: "group",
    "aria-label": data.alt,
  });
  const arrow = make("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" });
  arrow.append(make("path", { d: "M0,0 L8,4 L0,8 z" }));
  const defs = make("defs", {});
  defs.append(arrow);
  svg.append(defs);
  for (const edge of data.edges) svg.append(make("path", { class: "edge", d: curve(edge, data.down), "marker-end": "url(#arrow)" }));
  for (const node of data.nodes) svg.append(box(node, (id) => setTriggerValue("chosen", id)));
  root.replaceChildren(svg);
  const chosen = svg.querySelector(".chosen");
  if (chosen && root.scrollWidth > root.clientWidth) {
    const at = data.nodes.find((node) => node.chosen);
    root.scrollLeft = at.x + at.width / 2 - root.clientWidth / 2;
  }
}
