// The strip: the regions under the picture by name, to insert again, to see and change as numbers, to delete.

import { icon, make } from "./dom.js";
import { described, reread, written } from "./shapes.js";

export class Strip {
  #open = null;
  #render = () => this.render();

  /** `insert(number)` puts a region into the text that is being written. */
  constructor(list, { insert }) {
    this.list = list;
    this.insert = insert;
  }

  show(board, noun, size) {
    this.board?.removeEventListener("change", this.#render);
    Object.assign(this, { board, noun, size });
    this.#open = null;
    board.addEventListener("change", this.#render);
    this.render();
  }

  render() {
    // The list is made anew, and the focus stays on the same button of it.
    const focused = this.list.contains(document.activeElement) ? document.activeElement.id : null;
    this.list.replaceChildren(...this.board.regions.map((region) => this.#item(region)));
    if (focused) document.getElementById(focused)?.focus();
  }

  #item({ number, shape, color }) {
    const name = `${this.noun} ${number}`;
    const id = `strip-${this.noun}-${number}`;
    const open = this.#open === number;
    const chosen = this.board.chosen === number;
    const item = make(
      "li",
      { class: chosen ? "region chosen" : "region", key: `${this.noun}-${number}`, color },
      make(
        "button",
        {
          type: "button",
          class: "name",
          id,
          title: described(shape),
          "aria-label": `Insert ${name} into the text: ${described(shape)}`,
          onclick: () => this.insert(number),
        },
        make("span", { class: "swatch", "aria-hidden": "true" }),
        name,
      ),
      make(
        "button",
        {
          type: "button",
          class: "icon",
          id: `${id}-numbers`,
          "aria-label": `Coordinates of ${name}`,
          title: "Coordinates",
          "aria-expanded": String(open),
          onclick: () => this.#toggle(number),
        },
        icon("numbers"),
      ),
      make(
        "button",
        {
          type: "button",
          class: "icon",
          id: `${id}-delete`,
          "aria-label": `Delete ${name}`,
          title: "Delete",
          onclick: () => this.#delete(number),
        },
        icon("close"),
      ),
    );
    if (open) item.append(this.#numbers(number, shape, name));
    return item;
  }

  #numbers(number, shape, name) {
    const input = make("input", {
      class: "numbers",
      id: `strip-${this.noun}-${number}-input`,
      value: written(shape),
      "aria-label": `${name}, ${shape.type}, in pixels`,
      spellcheck: "false",
      inputmode: "decimal",
      autocomplete: "off",
    });
    const apply = () => {
      const changed = reread(shape, input.value, this.size);
      input.setAttribute("aria-invalid", String(changed === null));
      input.title = changed ? "" : WANTED[shape.type];
      if (changed && JSON.stringify(changed) !== JSON.stringify(shape)) this.board.change(number, changed);
    };
    input.addEventListener("change", apply);
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter") apply();
      if (event.key === "Escape") this.#toggle(number);
    });
    return input;
  }

  #toggle(number) {
    const opens = this.#open !== number;
    this.#open = opens ? number : null;
    this.render();
    const id = `strip-${this.noun}-${number}`;
    document.getElementById(opens ? `${id}-input` : `${id}-numbers`)?.focus();
  }

  #delete(number) {
    const numbers = this.board.regions.map((region) => region.number);
    const at = numbers.indexOf(number);
    const next = numbers[at + 1] ?? numbers[at - 1];
    this.board.remove(number);
    if (next !== undefined) document.getElementById(`strip-${this.noun}-${next}-delete`)?.focus();
  }
}

const WANTED = {
  point: "x, y",
  box: "x1, y1, x2, y2, with a width and a height",
  scribble: "x1, y1, x2, y2 …",
  polygon: "x1, y1, x2, y2, x3, y3 …",
};
