// Keys: drawing, moving and zooming without a pointer. They work while the picture has the focus, so that single
// letters stay letters everywhere else.

import { described, moved, settled } from "./shapes.js";

const TOOLS = { v: "move", p: "point", b: "box", s: "scribble", g: "polygon" };
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Keys {
  spaceHeld = false;

  constructor(stage) {
    this.stage = stage;
    stage.canvas.addEventListener("keydown", (event) => stage.picture && this.#press(event));
    stage.canvas.addEventListener("keyup", (event) => {
      if (event.key === " ") this.#holdSpace(false);
    });
    stage.canvas.addEventListener("blur", () => this.#blur());
  }

  #press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const react = ARROWS[event.key]
      ? () => this.#arrow(ARROWS[event.key], event.shiftKey)
      : this.#keys[event.key];
    const tool = TOOLS[event.key.toLowerCase()];
    if (tool) this.stage.choose(tool);
    else if (react) react();
    else return;
    event.preventDefault();
  }

  #keys = {
    Enter: () => this.#enter(),
    " ": () => this.#holdSpace(true),
    Escape: () => this.#escape(),
    Backspace: () => this.#back(),
    Delete: () => this.#remove(),
    n: () => this.#next(),
    "+": () => this.stage.viewport.zoomBy(1.25),
    "=": () => this.stage.viewport.zoomBy(1.25),
    "-": () => this.stage.viewport.zoomBy(0.8),
    0: () => this.stage.viewport.fit(),
  };

  #holdSpace(held) {
    this.spaceHeld = held;
    this.stage.canvas.classList.toggle("hand", held);
  }

  #arrow([right, down], small) {
    const { stage } = this;
    const step = small ? 1 : Math.max(1, Math.round(16 / stage.viewport.zoom));
    const by = [right * step, down * step];
    if (stage.active) this.#moveCursor(by);
    else if (stage.board.chosen !== null) this.#nudge(by);
    else stage.viewport.panBy(-40 * right, -40 * down);
  }

  #moveCursor([dx, dy]) {
    const { stage } = this;
    const { size } = stage.viewport;
    const [x, y] = stage.cursor ?? size.map((side) => Math.round(side / 2));
    const inside = (value, side) => Math.min(Math.max(value, 0), side);
    // The first key only shows where the cursor is.
    const at = stage.cursor ? [inside(x + dx, size[0]), inside(y + dy, size[1])] : [x, y];
    stage.cursor = at;
    stage.viewport.reveal(at);
    stage.active.hover(at);
    stage.drafted();
    stage.pointAt(at);
    this.#say(`x ${at[0]}, y ${at[1]}`);
  }

  #nudge(by) {
    const { board, picture } = this.stage;
    const { number, shape } = board.find(board.chosen);
    board.change(number, settled(moved(shape, by, picture.size), picture.size));
    this.#say(`${this.stage.noun} ${number}: ${described(board.find(number).shape)}`);
  }

  #enter() {
    const { stage } = this;
    if (!stage.active) return;
    if (!stage.cursor) return this.#moveCursor([0, 0]);
    stage.pointerKind = "keyboard";
    const began = !stage.unfinished;
    stage.active.click(stage.cursor);
    stage.drafted();
    if (began && stage.unfinished) this.#say(`${stage.tool} begun`);
  }

  #escape() {
    const { stage } = this;
    if (stage.unfinished) this.#say("given up");
    else if (stage.board.chosen !== null) stage.board.choose(null);
    else stage.cursor = null;
    stage.cancel();
  }

  #back() {
    const { stage } = this;
    if (!stage.unfinished) return this.#remove();
    stage.active.back();
    stage.drafted();
  }

  #remove() {
    const { board } = this.stage;
    if (board.chosen !== null) board.remove(board.chosen);
  }

  #next() {
    const { stage } = this;
    const { regions, chosen } = stage.board;
    if (!regions.length) return;
    if (stage.active) stage.choose("move");
    const next = regions[(regions.findIndex(({ number }) => number === chosen) + 1) % regions.length];
    stage.board.choose(next.number);
    this.#say(`${stage.noun} ${next.number}: ${described(next.shape)}`);
  }

  #blur() {
    this.#holdSpace(false);
    this.stage.cursor = null;
    this.stage.draw();
  }

  #say(text) {
    this.stage.dispatchEvent(new CustomEvent("say", { detail: text }));
  }
}
