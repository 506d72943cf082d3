// The field: a text area whose tokens, `[region 1]`, look like chips. The words lie in a backdrop of the same
// shape behind a text area with transparent letters, so typing, undo, input methods and screen readers are the
// browser's own.

const SPACE = "\u00a0";

/** A text with tokens: strings and `{number}` in turn. `<region>` and `<region2>` are read as tokens too, because
 * that is how they are written everywhere else, and the server reads them so. */
export function partsOf(text, noun) {
  const pattern = new RegExp(
    `\\[${noun}[ ${SPACE}](\\d+)\\]${noun === "region" ? "|<region(\\d*)>" : ""}`,
    "g",
  );
  const parts = [];
  let end = 0;
  let bare = 0;
  for (const match of text.matchAll(pattern)) {
    if (match.index > end) parts.push(text.slice(end, match.index));
    const written = match[1] ?? match[2];
    if (written === "") bare += 1;
    parts.push({ number: written === "" ? bare : Number(written), token: match[0] });
    end = match.index + match[0].length;
  }
  if (end < text.length) parts.push(text.slice(end));
  return parts;
}

/** The token that stands for a number. */
export const tokenOf = (noun, number) => `[${noun}${SPACE}${number}]`;

export class Field {
  /** `colorOf(number)` is the colour of a token, undefined where there is no such region. */
  constructor(element, { noun = "region", colorOf }) {
    this.element = element;
    this.noun = noun;
    this.colorOf = colorOf;
    this.area = element.querySelector("textarea");
    this.backdrop = element.querySelector(".backdrop");
    this.area.addEventListener("input", () => this.paint());
    this.area.addEventListener("scroll", () => (this.backdrop.scrollTop = this.area.scrollTop));
    this.area.addEventListener("keydown", (event) => this.#erase(event));
    this.paint();
  }

  get text() {
    return this.area.value;
  }

  set text(value) {
    this.area.value = value;
    this.paint();
  }

  get parts() {
    return partsOf(this.text, this.noun);
  }

  /** Put a token where the caret is, with spaces to the words around it; the browser can undo it. */
  insert(number) {
    const { area } = this;
    const [before, after] = [this.text.slice(0, area.selectionStart), this.text.slice(area.selectionEnd)];
    const left = before && !/[\s(]$/.test(before) ? " " : "";
    const right = after && !/^[\s.,;:?!)]/.test(after) ? " " : "";
    this.#type(`${left}${tokenOf(this.noun, number)}${right}`);
  }

  /** Take every token of a number out, with one of the spaces round it. */
  remove(number) {
    const pattern = new RegExp(` ?\\[${this.noun}[ ${SPACE}]${number}\\]`);
    for (let match = pattern.exec(this.text); match; match = pattern.exec(this.text)) {
      this.area.setSelectionRange(match.index, match.index + match[0].length);
      this.#type("");
    }
  }

  paint() {
    this.backdrop.replaceChildren(
      ...this.parts.map((part) => (typeof part === "string" ? part : this.#chip(part))),
      // A last line that is empty has no height without it.
      "\u200b",
    );
  }

  #chip({ number, token }) {
    const color = this.colorOf(number);
    const chip = document.createElement("span");
    chip.className = color ? "token" : "token unknown";
    if (color) chip.style.setProperty("--c", color);
    chip.dataset.key = `${this.noun}-${number}`;
    const [, open, word, close] = token.match(/^(.)(.*)(.)$/s);
    const bracket = (text) => Object.assign(document.createElement("i"), { textContent: text });
    chip.append(bracket(open), word, bracket(close));
    return chip;
  }

  // A token goes as a whole.
  #erase(event) {
    if (!["Backspace", "Delete"].includes(event.key) || event.ctrlKey || event.altKey || event.metaKey)
      return;
    const { selectionStart: start, selectionEnd: end } = this.area;
    if (start !== end) return;
    const back = event.key === "Backspace";
    const near = back ? this.text.slice(0, start) : this.text.slice(start);
    const token = `\\[${this.noun}[ ${SPACE}]\\d+\\]`;
    const match = near.match(new RegExp(back ? `${token}$` : `^${token}`));
    if (!match) return;
    event.preventDefault();
    const from = back ? start - match[0].length : start;
    this.area.setSelectionRange(from, from + match[0].length);
    this.#type("");
  }

  // `execCommand` is the only change of a text area that its own undo knows of. It needs the focus, which is not
  // taken for it: on a phone the keyboard would come up.
  #type(text) {
    const { area } = this;
    const typed =
      document.activeElement === area &&
      (text ? document.execCommand("insertText", false, text) : document.execCommand("delete"));
    if (typed) return;
    area.setRangeText(text, area.selectionStart, area.selectionEnd, "end");
    area.dispatchEvent(new Event("input", { bubbles: true }));
  }
}
