// Corrections: an answer in an editor. Its boxes can be moved and drawn on the picture while it is open.

import { regionsOf } from "./answer.js";
import { Board } from "./board.js";
import { make } from "./dom.js";
import { Field, tokenOf } from "./field.js";

export const NOUN = "box";

export class Correction {
  /** `done(pieces)` takes the corrected answer, or null if it is given up. */
  constructor(round, colors, done) {
    this.round = round;
    this.done = done;
    const { pieces } = round.answer;
    this.originals = regionsOf(pieces);
    const regions = this.originals.map(({ shape, color }, index) => ({ number: index + 1, shape, color }));
    this.board = new Board(colors, regions);
    this.element = this.#form();
    this.field = new Field(this.element.querySelector(".field"), {
      noun: NOUN,
      colorOf: (number) => this.board.find(number)?.color,
    });
    let number = 0;
    this.field.text = pieces
      .map((piece) => (typeof piece === "string" ? piece : tokenOf(NOUN, (number += 1))))
      .join("");
    this.board.addEventListener("change", () => this.field.paint());
  }

  focus() {
    const { area } = this.field;
    area.focus({ preventScroll: true });
    area.setSelectionRange(area.value.length, area.value.length);
  }

  #form() {
    const help =
      "Draw on the picture to add a box. With the Move tool its boxes can be moved and their corners pulled.";
    const fault = make("p", { class: "fault", role: "alert" });
    const form = make(
      "form",
      { class: "said correcting", "aria-label": "Correct the answer" },
      make(
        "div",
        { class: "field" },
        make("div", { class: "backdrop", "aria-hidden": "true" }),
        make("textarea", { rows: "2", "aria-label": "The right answer" }),
      ),
      make("p", { class: "help", text: help }),
      fault,
      make(
        "div",
        { class: "foot" },
        make("button", { type: "submit", class: "primary small", text: "Keep the correction" }),
        make("button", { type: "button", class: "small", text: "Cancel", onclick: () => this.done(null) }),
      ),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      fault.textContent = this.#fault() ?? "";
      if (!fault.textContent) this.done(this.#pieces());
    });
    form.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.done(null);
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
    });
    return form;
  }

  #fault() {
    if (!this.field.text.trim()) return "An answer needs some text.";
    const missing = this.field.parts.find(
      (part) => typeof part !== "string" && !this.board.find(part.number),
    );
    return missing ? `There is no box ${missing.number}. Draw it, or take its name out of the text.` : null;
  }

  // A box that wasn't touched keeps what the model wrote.
  #pieces() {
    return this.field.parts.map((part) => {
      if (typeof part === "string") return part;
      const { shape, color } = this.board.find(part.number);
      return this.originals.find((original) => original.shape === shape) ?? { shape, color };
    });
  }
}
