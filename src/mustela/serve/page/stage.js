// The stage: the picture in its window and what is drawn on it.

import { Keys } from "./keys.js";
import { drawOverlay } from "./overlay.js";
import { Pointers } from "./pointers.js";
import { settled } from "./shapes.js";
import { makeTools } from "./tools.js";
import { Viewport } from "./viewport.js";

/**
 * Shows the regions of `board`, which can be moved and reshaped, and the marks of `setMarks`, which can't. Tells
 * its listeners of "tool" (another one is chosen), "draft" (a shape is begun, goes on or ends), "place" (the
 * pixel under the pointer or cursor in `detail`, or null) and "drawn" (`detail`: the shape, and `by`, the kind of
 * pointer).
 */
export class Stage extends EventTarget {
  #marks = [];
  #redraw = () => this.draw();
  tool = "box";
  noun = "region";
  allowed = ["point", "box", "scribble", "polygon"];
  pointerKind = "mouse";
  /** The keyboard's place in the picture, null while a pointer is used. */
  cursor = null;
  /** `{number, shape}` of a region while it is dragged. */
  dragged = null;

  constructor({ canvas, image, svg }, board) {
    super();
    this.canvas = canvas;
    this.image = image;
    this.svg = svg;
    this.viewport = new Viewport(canvas);
    this.viewport.addEventListener("change", this.#redraw);
    this.tools = makeTools(
      (shape) => this.#finish(shape),
      (pixels) => (pixels * (this.pointerKind === "touch" ? 2 : 1)) / this.viewport.zoom,
    );
    this.setBoard(board);
    this.keys = new Keys(this);
    this.pointers = new Pointers(this);
    canvas.dataset.tool = this.tool;
  }

  /** The drawing tool, null for the one that moves. */
  get active() {
    return this.tools[this.tool] ?? null;
  }

  get unfinished() {
    return Boolean(this.active?.unfinished);
  }

  show(picture) {
    this.picture = picture;
    this.image.src = picture.url;
    this.cursor = null;
    this.viewport.show(picture.size);
  }

  setBoard(board) {
    this.board?.removeEventListener("change", this.#redraw);
    this.board = board;
    board.addEventListener("change", this.#redraw);
    this.cancel();
  }

  setMarks(marks) {
    this.#marks = marks;
    this.draw();
  }

  choose(tool) {
    if (tool !== "move" && !this.allowed.includes(tool)) return;
    this.cancel();
    this.tool = tool;
    if (tool !== "move") this.board.choose(null);
    this.canvas.dataset.tool = tool;
    this.dispatchEvent(new Event("tool"));
    this.draw();
  }

  cancel() {
    this.active?.cancel();
    this.dragged = null;
    this.drafted();
  }

  /** End a polygon as it is. */
  done() {
    this.active?.done?.();
    this.drafted();
  }

  /** Tell that the unfinished shape may have changed. */
  drafted() {
    this.draw();
    this.dispatchEvent(new Event("draft"));
  }

  pointAt(place) {
    this.dispatchEvent(new CustomEvent("place", { detail: place }));
  }

  draw() {
    if (!this.picture) return;
    const { zoom, x, y, size } = this.viewport;
    const { style } = this.image;
    style.setProperty("width", `${size[0] * zoom}px`);
    style.setProperty("height", `${size[1] * zoom}px`);
    style.setProperty("transform", `translate(${x}px, ${y}px)`);
    this.image.classList.toggle("grainy", zoom >= 12);
    const own = this.board.regions.map(({ number, shape, color }) => ({
      key: `${this.noun}-${number}`,
      shape: this.dragged?.number === number ? this.dragged.shape : shape,
      color,
      label: `${this.noun} ${number}`,
      chosen: this.board.chosen === number,
    }));
    const shape = this.active?.draft;
    const draft = shape && { shape, color: "var(--draft)" };
    drawOverlay(this.svg, this.viewport, { marks: [...this.#marks, ...own], draft, cursor: this.cursor });
    this.dispatchEvent(new Event("drawing"));
  }

  #finish(shape) {
    const detail = { shape: settled(shape, this.picture.size), by: this.pointerKind };
    this.dispatchEvent(new CustomEvent("drawn", { detail }));
  }
}
