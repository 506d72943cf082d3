// The overlay: shapes drawn over the picture, in CSS pixels of its window, so that lines and letters keep their
// size at any zoom. A mark is `{key, shape, color, label, chosen}`; equal keys light up together.

import { bounds, vertices } from "./shapes.js";

const SVG = "http://www.w3.org/2000/svg";
const TAG = { height: 20, pad: 6, gap: 3 };

function element(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const path = (points, closed) =>
  `M${points.map(([x, y]) => `${x.toFixed(2)} ${y.toFixed(2)}`).join("L")}${closed ? "Z" : ""}`;

/** Draw marks, the unfinished shape and the keyboard's cursor into an SVG element. */
export function drawOverlay(svg, viewport, { marks, draft, cursor }) {
  const largestFirst = [...marks].sort((one, other) => area(other.shape) - area(one.shape));
  const groups = largestFirst.map((mark) => markGroup(mark, viewport));
  svg.replaceChildren(...groups);
  placeTags(svg, largestFirst, viewport);
  if (draft) svg.append(...draftElements(draft, viewport));
  if (cursor) svg.append(cursorGroup(viewport.toView(cursor), draft?.color));
}

function area(shape) {
  const [x1, y1, x2, y2] = bounds(shape);
  return (x2 - x1) * (y2 - y1);
}

function markGroup({ key, shape, color, chosen }, viewport) {
  const group = element(
    "g",
    { class: chosen ? "mark chosen" : "mark", "data-key": key },
    ...outline(shape, viewport),
  );
  group.style.setProperty("--c", color);
  if (chosen) group.append(...handles(shape, viewport));
  return group;
}

// The dark line under the coloured one shows on any picture.
function outline(shape, viewport) {
  const points = vertices(shape).map((xy) => viewport.toView(xy));
  if (shape.type === "point") {
    const [x, y] = points[0];
    return [
      element("circle", { class: "rim", cx: x, cy: y, r: 7 }),
      element("circle", { class: "dot", cx: x, cy: y, r: 6 }),
    ];
  }
  if (shape.type === "scribble") {
    const d = points.length > 1 ? path(points, false) : `${path(points, false)}h.01`;
    const width = shape.width * viewport.zoom;
    return [
      element("path", { class: "stroke", d, "stroke-width": Math.max(width, 5) }),
      element("path", { class: "rim", d }),
      element("path", { class: "line", d }),
    ];
  }
  const d = path(points, !shape.open);
  return [element("path", { class: "rim", d }), element("path", { class: "line filled", d })];
}

function handles(shape, viewport) {
  if (shape.type === "scribble" || shape.type === "point") return [];
  return vertices(shape).map((xy) => {
    const [x, y] = viewport.toView(xy);
    return element("rect", { class: "handle", x: x - 5, y: y - 5, width: 10, height: 10, rx: 2.5 });
  });
}

function draftElements({ shape, color }, viewport) {
  const group = element("g", { class: "mark draft" }, ...outline(shape, viewport));
  group.style.setProperty("--c", color);
  if (shape.open) {
    const [x, y] = viewport.toView(shape.rings[0].slice(0, 2));
    group.append(element("circle", { class: "start", cx: x, cy: y, r: 6 }));
  }
  return [group];
}

function cursorGroup([x, y], color) {
  const d = `M${x - 14} ${y}H${x - 4}M${x + 4} ${y}H${x + 14}M${x} ${y - 14}V${y - 4}M${x} ${y + 4}V${y + 14}`;
  const group = element(
    "g",
    { class: "cursor" },
    element("path", { class: "rim", d }),
    element("path", { class: "line", d }),
  );
  if (color) group.style.setProperty("--c", color);
  return group;
}

// Each label sits above its shape's upper left corner, or where there is room, and never on another label.
function placeTags(svg, marks, viewport) {
  const { clientWidth, clientHeight } = viewport.element;
  const taken = [];
  for (const { key, shape, color, label, chosen } of marks) {
    if (!label) continue;
    const [x1, y1, x2, y2] = bounds(shape);
    const [left, top] = viewport.toView([x1, y1]);
    const [right, bottom] = viewport.toView([x2, y2]);
    if (right < 0 || bottom < 0 || left > clientWidth || top > clientHeight) continue;
    const text = element("text", { y: 14 }, label.length > 28 ? `${label.slice(0, 27)}…` : label);
    const group = element("g", { class: chosen ? "tag chosen" : "tag", "data-key": key }, text);
    group.style.setProperty("--c", color);
    svg.append(group);
    const width = text.getComputedTextLength() + 2 * TAG.pad;
    text.setAttribute("x", TAG.pad);
    text.before(element("rect", { width, height: TAG.height, rx: 5 }));
    const lift = shape.type === "point" ? 11 : TAG.gap;
    const inside = (value, most) => Math.min(Math.max(value, 2), most);
    const spots = [
      [left, top - TAG.height - lift],
      [left, bottom + lift],
      [right - width, top - TAG.height - lift],
      [left + TAG.gap, top + TAG.gap],
      [right - width, bottom + lift],
      [right + TAG.gap, top],
      [left - width - TAG.gap, top],
      ...Array.from({ length: 6 }, (_, row) => [left, bottom + lift + (row + 1) * (TAG.height + 2)]),
    ].map(([x, y]) => [inside(x, clientWidth - width - 2), inside(y, clientHeight - TAG.height - 2)]);
    const free = ([x, y]) =>
      taken.every(
        ([tx, ty, tw]) => x + width < tx || tx + tw < x || y + TAG.height < ty || ty + TAG.height < y,
      );
    const [x, y] = spots.find(free) ?? spots[0];
    taken.push([x, y, width]);
    group.setAttribute("transform", `translate(${x.toFixed(1)} ${y.toFixed(1)})`);
  }
}
