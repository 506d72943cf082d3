// Answers: a text in pieces, strings and regions in turn, and the words of it that each region belongs to.

import { box, point, vertices } from "./shapes.js";

/**
 * The pieces of an answer: strings, and `{shape, color, raw, repaired}` where the text has coordinates.
 * The spans count code points, as Python does.
 */
export function piecesOf(text, regions, colors) {
  const letters = [...text];
  const pieces = [];
  let end = 0;
  for (const { span, box_xyxy: xyxy, point_xy: xy, repaired } of [...regions].sort(
    (a, b) => a.span[0] - b.span[0],
  )) {
    if (span[0] > end) pieces.push(letters.slice(end, span[0]).join(""));
    const shape = xyxy ? box(xyxy.slice(0, 2), xyxy.slice(2)) : point(xy);
    pieces.push({ shape, color: colors.take(), raw: letters.slice(...span).join(""), repaired });
    end = Math.max(end, span[1]);
  }
  if (end < letters.length) pieces.push(letters.slice(end).join(""));
  return pieces;
}

const SENTENCE_END = /[.!?;。！？；][\s"')]|[\n。！？；]/g;
const EDGES = " \t\r\n,.:;、，：\"'`*–—_{}[]()<>=|-";
const JOIN = /^(?:and|or|then|和)\s+|^和/i;
// "is bigger than a blue cross" says more than what is in the box.
const LEAD =
  /^(?:is|are|was|were|has|have|it|there|this|that|which|than|of|to|on|in|at|by|near|with|next)\b.*?\b(?=(?:an?|the)\s)/i;

const trimmed = (text) => {
  let [from, to] = [0, text.length];
  while (from < to && EDGES.includes(text[from])) from += 1;
  while (to > from && EDGES.includes(text[to - 1])) to -= 1;
  return [from, to];
};

/** Where the words stand that lead up to a region, `[from, to]` in the text before it; null if there are none. */
export function wordsBefore(text) {
  const [, last] = trimmed(text);
  let first = 0;
  for (const match of text.slice(0, last).matchAll(SENTENCE_END)) first = match.index + match[0].length;
  let [from, to] = trimmed(text.slice(first, last)).map((at) => at + first);
  if (/^(?:and|or|和)$/i.test(text.slice(from, to))) return null;
  for (const opening of [JOIN, LEAD]) from += text.slice(from, to).match(opening)?.[0].length ?? 0;
  return from < to ? [from, to] : null;
}

/** What to show of pieces: `{text}`, `{text, index}` for the words of region `index`, and `{index}` for its mark. */
export function spelled(pieces) {
  const shown = [];
  let index = 0;
  pieces.forEach((piece, at) => {
    if (typeof piece !== "string") return shown.push({ index: index++ });
    const words = typeof pieces[at + 1] === "object" ? wordsBefore(piece) : null;
    if (!words) return shown.push({ text: piece });
    const [from, to] = words;
    shown.push(
      { text: piece.slice(0, from) },
      { text: piece.slice(from, to), index },
      { text: piece.slice(to) },
    );
  });
  return shown.filter(({ text }) => text !== "");
}

/** The words of each region of pieces, "" where it has none. */
export function labelsOf(pieces) {
  const words = new Map(
    spelled(pieces)
      .filter(({ text }) => text)
      .map(({ index, text }) => [index, text]),
  );
  return regionsOf(pieces).map((_, index) => words.get(index) ?? "");
}

/** The regions among pieces. */
export const regionsOf = (pieces) => pieces.filter((piece) => typeof piece !== "string");

/** The text of pieces with something in the place of each region. */
export const joined = (pieces, write) =>
  pieces.map((piece) => (typeof piece === "string" ? piece : write(piece))).join("");

// Not the number in a key such as "bbox_2d".
const NUMBER = /(?<![\w.])-?\d+(?:\.\d+)?/g;
const SCALES = {
  bins: (value, side) => Math.min(Math.max(Math.floor((value * 1000) / side + 1e-9), 0), 999),
  unit: (value, side) => (value / side).toFixed(3),
  pixels: (value) => Math.round(value),
};
const TEMPLATES = { box: "[0, 0, 0, 0]", point: "[0, 0]" };

/**
 * A function that writes shapes as the model writes them, learnt from the answers it gave: the same brackets, and
 * numbers on the same scale. Without an example: thousandths of the sides in square brackets.
 */
export function handwriting(examples, size) {
  const scale =
    Object.keys(SCALES).find((name) => examples.some((one) => follows(one, SCALES[name], size))) ?? "bins";
  return (shape) => {
    const values = numbersOf(shape);
    const like = examples.find((one) => one.shape.type === shape.type && countOf(one.raw) === values.length);
    let at = 0;
    return (like?.raw ?? TEMPLATES[shape.type]).replace(NUMBER, () => {
      const written = SCALES[scale](values[at], size[at % 2]);
      at += 1;
      return written;
    });
  };
}

const numbersOf = (shape) => (shape.type === "box" ? shape.xyxy : vertices(shape).flat());
const countOf = (raw) => raw.match(NUMBER)?.length ?? 0;

function follows({ raw, shape, repaired }, write, size) {
  const said = (raw.match(NUMBER) ?? []).map(Number);
  const values = numbersOf(shape);
  if (repaired || said.length !== values.length) return false;
  const step = said.some((value) => value % 1 !== 0) ? 0.002 : 1;
  return said.every((value, at) => Math.abs(value - write(values[at], size[at % 2])) <= step);
}
