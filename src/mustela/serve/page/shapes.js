// Shapes: regions as the server reads them, `{type: "box", xyxy: [...]}` and so on, in pixels of the upright
// picture, x to the right, y down. They are values: every function returns a new one.

/** Pixels of a scribble's width unless the slider says otherwise. */
export const PEN_WIDTH = 5;

const round = (value) => Math.round(value * 10) / 10;
const pairs = (flat) => Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i], flat[2 * i + 1]]);
const extent = (points) => {
  const xs = points.map(([x]) => x);
  const ys = points.map(([, y]) => y);
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
};

export const point = (xy) => ({ type: "point", xy });
export const box = ([x1, y1], [x2, y2]) => ({
  type: "box",
  xyxy: [Math.min(x1, x2), Math.min(y1, y2), Math.max(x1, x2), Math.max(y1, y2)],
});
export const scribble = (points, width = PEN_WIDTH) => ({ type: "scribble", points, width });
export const polygon = (points) => ({ type: "polygon", rings: [points.flat()] });

/** The vertices of a shape, each `[x, y]`; a box has its four corners, clockwise from the upper left. */
export function vertices(shape) {
  switch (shape.type) {
    case "point":
      return [shape.xy];
    case "box": {
      const [x1, y1, x2, y2] = shape.xyxy;
      return [
        [x1, y1],
        [x2, y1],
        [x2, y2],
        [x1, y2],
      ];
    }
    case "scribble":
      return shape.points;
    default:
      return shape.rings.flatMap(pairs);
  }
}

/** The corners x1, y1, x2, y2 of the box round a shape. */
export const bounds = (shape) => extent(vertices(shape));

/** Whether a shape isn't a box without width or height. */
export const hasArea = ({ type, xyxy }) => type !== "box" || (xyxy[2] > xyxy[0] && xyxy[3] > xyxy[1]);

/** The shape with every vertex sent through a function of `[x, y]`. */
export function mapped(shape, place) {
  switch (shape.type) {
    case "point":
      return point(place(shape.xy));
    case "box":
      return box(place(shape.xyxy.slice(0, 2)), place(shape.xyxy.slice(2)));
    case "scribble":
      return scribble(shape.points.map(place), shape.width);
    default:
      return { type: "polygon", rings: shape.rings.map((ring) => pairs(ring).flatMap(place)) };
  }
}

/** The shape moved by some pixels, but not out of a picture of `size` [width, height]. */
export function moved(shape, [dx, dy], [width, height]) {
  const [x1, y1, x2, y2] = bounds(shape);
  const right = Math.min(Math.max(dx, -x1), width - x2);
  const down = Math.min(Math.max(dy, -y1), height - y2);
  return mapped(shape, ([x, y]) => [x + right, y + down]);
}

/** The shape with coordinates to a tenth of a pixel, inside a picture of `size`. */
export function settled(shape, [width, height]) {
  return mapped(shape, ([x, y]) => [
    round(Math.min(Math.max(x, 0), width)),
    round(Math.min(Math.max(y, 0), height)),
  ]);
}

/** The shape with its vertex number `index` at `xy`; the corner opposite to a box's stays. */
export function withVertex(shape, index, xy) {
  if (shape.type === "box") return box(xy, vertices(shape)[(index + 2) % 4]);
  let at = 0;
  return mapped(shape, (old) => (at++ === index ? xy : old));
}

/** Whether `xy` lies on a shape, or within `reach` pixels of its line. */
export function covers(shape, [x, y], reach) {
  const [x1, y1, x2, y2] = bounds(shape);
  const near = shape.type === "scribble" ? Math.max(reach, shape.width / 2) : reach;
  if (x < x1 - near || x > x2 + near || y < y1 - near || y > y2 + near) return false;
  if (shape.type === "point" || shape.type === "box") return true;
  if (shape.type === "scribble") return onLine(shape.points, [x, y], near);
  const inside = shape.rings.filter((ring) => insideRing(pairs(ring), [x, y])).length % 2 === 1;
  return inside || shape.rings.some((ring) => onLine([...pairs(ring), ring.slice(0, 2)], [x, y], near));
}

function onLine(points, [x, y], near) {
  return points.some(([bx, by], index) => {
    const [ax, ay] = points[Math.max(index - 1, 0)];
    const length = (bx - ax) ** 2 + (by - ay) ** 2;
    const share = length
      ? Math.min(1, Math.max(0, ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length))
      : 0;
    return Math.hypot(x - ax - share * (bx - ax), y - ay - share * (by - ay)) <= near;
  });
}

function insideRing(ring, [x, y]) {
  let inside = false;
  ring.forEach(([bx, by], index) => {
    const [ax, ay] = ring.at(index - 1);
    if (by > y !== ay > y && x < ((ax - bx) * (y - by)) / (ay - by) + bx) inside = !inside;
  });
  return inside;
}

/** A stroke's points without those that lie within `tolerance` pixels of the line through the others. */
export function simplified(points, tolerance) {
  if (points.length < 3) return points;
  const [a, b] = [points[0], points.at(-1)];
  let far = 0;
  let distance = 0;
  for (let index = 1; index < points.length - 1; index += 1) {
    const away = distanceTo(points[index], a, b);
    if (away > distance) [far, distance] = [index, away];
  }
  if (distance <= tolerance) return [a, b];
  const before = simplified(points.slice(0, far + 1), tolerance);
  return [...before.slice(0, -1), ...simplified(points.slice(far), tolerance)];
}

function distanceTo([x, y], [ax, ay], [bx, by]) {
  const length = Math.hypot(bx - ax, by - ay);
  return length ? Math.abs((bx - ax) * (ay - y) - (ax - x) * (by - ay)) / length : Math.hypot(x - ax, y - ay);
}

/** What a shape is, in words. */
export function described(shape) {
  const [x1, y1, x2, y2] = bounds(shape).map(Math.round);
  if (shape.type === "point") return `point at ${x1}, ${y1}`;
  return `${shape.type}, ${x2 - x1} × ${y2 - y1} pixels at ${x1}, ${y1}`;
}

/** The numbers of a shape as a person edits them. */
export const written = (shape) =>
  (shape.type === "box" ? shape.xyxy : vertices(shape).flat())
    .map((value) => String(round(value)))
    .join(", ");

const LEAST = { point: 2, box: 4, scribble: 2, polygon: 6 };

/** The shape like another one with numbers that a person wrote; null if they don't make one. */
export function reread(shape, text, size) {
  const words = text.trim().split(/[\s,;]+/);
  const numbers = words.map(Number);
  const { type } = shape;
  const exact = type === "point" || type === "box";
  const count = numbers.length;
  const fits = exact ? count === LEAST[type] : count >= LEAST[type] && count % 2 === 0;
  if (!fits || words.includes("") || !numbers.every(Number.isFinite)) return null;
  const made = {
    point: () => point(numbers),
    box: () => box(numbers.slice(0, 2), numbers.slice(2)),
    scribble: () => scribble(pairs(numbers), shape.width),
    polygon: () => polygon(pairs(numbers)),
  }[type]();
  const changed = settled(made, size);
  return hasArea(changed) ? changed : null;
}
