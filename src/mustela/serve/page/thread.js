// The thread: questions and answers as they are read, with their regions as coloured words and marks.

import { labelsOf, regionsOf, spelled } from "./answer.js";
import { icon, make } from "./dom.js";
import { described } from "./shapes.js";

const NOTES = { stopped: "stopped", length: "cut at the token limit" };

/** The key of a region of an answer, on the picture and in the text. */
export const answerKey = (round, index) => `answer-${round}-${index}`;

export class Thread {
  /**
   * `actions` has `correct(round)`, `copy(round, button)`, `retry(round)` and `activate(index)`, told when a round is
   * pointed at or focused (null: none); `keyOf(index, piece)` is the key of a region of a question.
   */
  constructor(list, scroller, { actions, keyOf }) {
    Object.assign(this, { list, scroller, actions, keyOf });
    list.addEventListener("pointerover", (event) => this.#activate(event));
    list.addEventListener("focusin", (event) => this.#activate(event));
    list.addEventListener("pointerleave", () => this.actions.activate(null));
  }

  show(rounds) {
    this.rounds = rounds;
    this.list.replaceChildren(...rounds.map((round, index) => this.#item(round, index)));
    this.#mind();
    this.toEnd();
  }

  /** Show a round as it is now; one that is new comes to the end. */
  update(round) {
    const index = this.rounds.indexOf(round);
    const atEnd = this.#isAtEnd();
    const [old, item] = [this.list.children[index], this.#item(round, index)];
    if (old) old.replaceWith(item);
    else this.list.append(item);
    this.#mind();
    if (atEnd || !old) this.toEnd();
  }

  /** Show more of an answer that still comes in. */
  stream(round) {
    const text = this.list.children[this.rounds.indexOf(round)]?.querySelector(".said .text");
    if (!text) return;
    const atEnd = this.#isAtEnd();
    text.replaceChildren(...incoming(round.answer.text));
    if (atEnd) this.toEnd();
  }

  /** Put an element in the place of an answer, or the answer back with null. */
  replaceAnswer(round, element) {
    const item = this.list.children[this.rounds.indexOf(round)];
    if (!element) return this.update(round);
    item.querySelector(".said").replaceWith(element);
    item.scrollIntoView({ block: "nearest" });
  }

  /** Give the regions of questions the keys they have now. */
  rekey() {
    this.rounds?.forEach((round, index) => {
      const chips = this.list.children[index]?.querySelectorAll(".asked .chip") ?? [];
      regionsOf(round.question).forEach((piece, at) => {
        if (chips[at]) chips[at].dataset.key = this.keyOf(index, piece);
      });
    });
  }

  toEnd() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  #mind() {
    this.scroller.classList.toggle("filled", this.rounds.length > 0);
  }

  #isAtEnd() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    return scrollHeight - scrollTop - clientHeight < 48;
  }

  #activate(event) {
    const item = event.target.closest(".round");
    if (item) this.actions.activate([...this.list.children].indexOf(item));
  }

  #item(round, index) {
    return make("li", { class: "round" }, this.#asked(round, index), this.#said(round, index));
  }

  #asked({ question }, index) {
    const parts = question.map((piece) =>
      typeof piece === "string"
        ? piece
        : make("span", {
            class: "chip",
            color: piece.color,
            key: this.keyOf(index, piece),
            title: described(piece.shape),
            text: `region ${piece.number}`,
          }),
    );
    return make(
      "div",
      { class: "asked" },
      make("h3", { class: "hidden", text: "You" }),
      make("p", {}, ...parts),
    );
  }

  #said(round, index) {
    const { answer } = round;
    const said = make(
      "div",
      { class: `said ${answer.state}` },
      make("h3", { class: "hidden", text: "Answer" }),
    );
    if (answer.state === "failed") return failed(said, answer, () => this.actions.retry(round));
    const streaming = answer.state === "waiting";
    const text = make(
      "p",
      { class: "text" },
      ...(streaming ? incoming(answer.text) : pieces(answer.pieces, index)),
    );
    if (!streaming && !text.textContent)
      text.replaceChildren(make("em", { text: "The model said nothing." }));
    said.append(text);
    if (!streaming) said.append(this.#foot(round));
    return said;
  }

  #foot(round) {
    const { answer } = round;
    const button = (name, label, react) =>
      make(
        "button",
        { type: "button", class: "quiet small", onclick: (event) => react(event.currentTarget) },
        icon(name),
        make("span", { text: label }),
      );
    const note = answer.corrected ? "corrected" : (NOTES[answer.cut] ?? NOTES[answer.state]);
    return make(
      "div",
      { class: "foot" },
      button("edit", "Correct", () => this.actions.correct(round)),
      button("copy", "Copy", (clicked) => this.actions.copy(round, clicked)),
      answer.state === "stopped" ? button("again", "Ask again", () => this.actions.retry(round)) : null,
      note ? make("span", { class: answer.corrected ? "note good" : "note", text: note }) : null,
    );
  }
}

function pieces(all, round) {
  const regions = regionsOf(all);
  const labels = labelsOf(all);
  return spelled(all).map(({ text, index }) => {
    if (index === undefined) return text;
    const { color, shape, repaired } = regions[index];
    const key = answerKey(round, index);
    if (text) return make("span", { class: "words", color, key, text });
    const where = `${described(shape)}${repaired ? ", its numbers were repaired" : ""}`;
    const name = `${labels[index] || `answer ${index + 1}`}: ${where}`;
    return make("button", {
      type: "button",
      class: `mark ${shape.type}`,
      color,
      key,
      title: where,
      "aria-label": name,
    });
  });
}

// Numbers in brackets stand back until they become marks.
function incoming(text) {
  if (!text)
    return [
      make(
        "span",
        { class: "typing", role: "img", "aria-label": "The answer is coming" },
        make("i"),
        make("i"),
        make("i"),
      ),
    ];
  return text
    .split(/(\[[\d\s.,]*\]?)/)
    .map((part, at) => (at % 2 ? make("span", { class: "figures", text: part }) : part));
}

function failed(said, { fault }, retry) {
  const button = make(
    "button",
    { type: "button", class: "small", onclick: retry },
    icon("again"),
    make("span", { text: "Try again" }),
  );
  said.append(
    make("p", { class: "fault", role: "alert", text: fault.message }),
    make("div", { class: "foot" }, button),
  );
  if (fault.retryAfter) countDown(button, Math.ceil(fault.retryAfter));
  return said;
}

function countDown(button, seconds) {
  const label = button.querySelector("span");
  button.disabled = seconds > 0;
  label.textContent = seconds > 0 ? `Try again in ${seconds} s` : "Try again";
  if (seconds > 0) setTimeout(() => countDown(button, seconds - 1), 1000);
}
