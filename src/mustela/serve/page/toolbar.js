// The toolbar: tools, undo and zoom, and what floats over the picture while something is drawn.

import { byId, check, radios } from "./dom.js";
import { PEN_WIDTH } from "./shapes.js";

export class Toolbar {
  /** Whether the last change was to the drawing, and not to a text. */
  drewLast = false;
  #show = () => this.#changed();

  constructor(stage) {
    this.stage = stage;
    const choice = byId("tool-choice");
    radios(choice, (radio) => stage.choose(radio.dataset.tool));
    const on = (id, react) => byId(id).addEventListener("click", react);
    on("undo", () => stage.board.undo());
    on("redo", () => stage.board.redo());
    on("zoom-in", () => stage.viewport.zoomBy(1.25));
    on("zoom-out", () => stage.viewport.zoomBy(0.8));
    on("zoom-fit", () => stage.viewport.fit());
    on("finish", () => stage.done());
    on("give-up", () => stage.cancel());
    stage.addEventListener("tool", () => this.#tool());
    stage.addEventListener("draft", () => this.#draft());
    stage.addEventListener("place", ({ detail }) => this.#place(detail));
    stage.viewport.addEventListener("change", () => {
      byId("zoom-percent").textContent = `${Math.round(stage.viewport.zoom * 100)} %`;
    });
    document.addEventListener("input", (event) => {
      if (event.target.matches("textarea")) this.drewLast = false;
    });
    byId("pen").addEventListener("input", () => this.#pen());
    this.#tool();
  }

  setBoard(board) {
    this.board?.removeEventListener("change", this.#show);
    this.board = board;
    board.addEventListener("change", this.#show);
    this.#tool();
    this.#pen(this.#fittingPen());
    this.#changed();
  }

  // About as wide as a marker on a print of the picture.
  #fittingPen() {
    const { picture } = this.stage;
    return picture ? Math.max(PEN_WIDTH, Math.round(Math.max(...picture.size) / 80)) : PEN_WIDTH;
  }

  #pen(width = Number(byId("pen").value)) {
    byId("pen").max = Math.max(60, 3 * width);
    byId("pen").value = width;
    byId("pen-width").textContent = `${width} px`;
    this.stage.tools.scribble.width = width;
  }

  #changed() {
    byId("undo").disabled = !this.board.canUndo;
    byId("redo").disabled = !this.board.canRedo;
    // A board's change types its token, which comes in as input.
    queueMicrotask(() => (this.drewLast = true));
  }

  #tool() {
    const { tool, allowed } = this.stage;
    for (const radio of byId("tool-choice").children) {
      radio.disabled = radio.dataset.tool !== "move" && !allowed.includes(radio.dataset.tool);
    }
    check(byId("tool-choice"), (radio) => radio.dataset.tool === tool);
    byId("pen").closest("label").hidden = tool !== "scribble";
  }

  #draft() {
    const { active, tool, unfinished } = this.stage;
    const floats = unfinished && (tool === "polygon" || active.first);
    byId("unfinished").hidden = !floats;
    byId("finish").hidden = tool !== "polygon";
    byId("finish").disabled = !(active?.corners?.length > 2);
  }

  #place(at) {
    byId("readout").textContent = at ? `x ${Math.floor(at[0])}, y ${Math.floor(at[1])}` : "";
  }
}
