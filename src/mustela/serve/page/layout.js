// Layout of JSON as a person would write it: what fits on a line stays on it.

const WIDTH = 92;

/** JSON text of a value; `indent` is how far its first line is moved in already, `step` how far each level goes. */
export function laidOut(value, { step = 2, indent = 0 } = {}) {
  const line = oneLine(value);
  if (indent + line.length <= WIDTH || typeof value !== "object" || value === null) return line;
  const inner = indent + step;
  const entries = Array.isArray(value)
    ? value.map((entry) => laidOut(entry, { step, indent: inner }))
    : Object.entries(value).map(
        ([key, entry]) => `${JSON.stringify(key)}: ${laidOut(entry, { step, indent: inner })}`,
      );
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const margin = " ".repeat(inner);
  return `${open}\n${margin}${entries.join(`,\n${margin}`)}\n${" ".repeat(indent)}${close}`;
}

function oneLine(value) {
  if (Array.isArray(value)) return `[${value.map(oneLine).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  return `{${Object.entries(value)
    .map(([key, entry]) => `${JSON.stringify(key)}: ${oneLine(entry)}`)
    .join(", ")}}`;
}
