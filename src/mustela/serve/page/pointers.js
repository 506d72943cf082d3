// Pointers: mouse, pen and fingers on the stage. One draws or moves, two fingers pan and zoom, the wheel zooms.

import { covers, hasArea, moved, settled, vertices, withVertex } from "./shapes.js";

/** How near, in CSS pixels, a pointer must be to a corner or line to take hold of it. */
const NEAR = { mouse: 8, pen: 10, touch: 22 };

export class Pointers {
  #down = new Map();
  /** What the pointers that are down do: "draw", "pan", "drag", "pinch", or null. */
  #doing = null;
  #grab = null;

  constructor(stage) {
    this.stage = stage;
    const listen = (name, react, options) =>
      stage.canvas.addEventListener(name, (event) => stage.picture && react(event), options);
    listen("pointerdown", (event) => this.#press(event));
    listen("pointermove", (event) => this.#move(event));
    listen("pointerup", (event) => this.#release(event));
    listen("pointercancel", (event) => this.#lose(event));
    listen("pointerleave", () => stage.pointAt(null));
    listen("wheel", (event) => this.#wheel(event), { passive: false });
  }

  #at(event) {
    return this.stage.viewport.toPicture([event.clientX, event.clientY]);
  }

  #press(event) {
    const { stage } = this;
    if (event.button === 2) return;
    this.#down.set(event.pointerId, [event.clientX, event.clientY]);
    stage.canvas.setPointerCapture(event.pointerId);
    stage.cursor = null;
    stage.pointerKind = event.pointerType;
    if (this.#down.size > 1) {
      // What the first finger began to draw wasn't meant.
      stage.cancel();
      this.#doing = "pinch";
      return;
    }
    const at = this.#at(event);
    if (event.button === 1 || stage.keys.spaceHeld) this.#doing = "pan";
    else if (stage.active) this.#doing = "draw";
    else this.#doing = this.#take(at) ? "drag" : "pan";
    stage.canvas.classList.toggle("panning", this.#doing === "pan");
    if (this.#doing === "draw") stage.active.press(at);
    stage.drafted();
  }

  // Take hold of a corner of the chosen region, else of the uppermost region at the place, which is then chosen.
  #take(at) {
    const { board, viewport, pointerKind } = this.stage;
    const reach = (NEAR[pointerKind] ?? NEAR.mouse) / viewport.zoom;
    const chosen = board.find(board.chosen);
    if (chosen && ["box", "polygon"].includes(chosen.shape.type)) {
      const away = vertices(chosen.shape).map(([x, y]) => Math.hypot(x - at[0], y - at[1]));
      const nearest = Math.min(...away);
      if (nearest <= reach) {
        this.#grab = { ...chosen, vertex: away.indexOf(nearest), from: at };
        return true;
      }
    }
    const under = board.regions.filter(({ shape }) => covers(shape, at, reach));
    const found = under.find(({ number }) => number === board.chosen) ?? under.at(-1);
    board.choose(found?.number ?? null);
    this.#grab = found ? { ...found, from: at } : null;
    return Boolean(found);
  }

  #move(event) {
    const { stage } = this;
    const at = this.#at(event);
    stage.pointAt(at);
    const before = this.#down.get(event.pointerId);
    const now = [event.clientX, event.clientY];
    if (before) this.#down.set(event.pointerId, now);
    switch (before ? this.#doing : "hover") {
      case "hover":
        if (!stage.unfinished) return;
        stage.active.hover(at);
        stage.draw();
        return;
      case "draw":
        for (const each of event.getCoalescedEvents?.() ?? []) stage.active.drag(this.#at(each));
        stage.active.drag(at);
        stage.draw();
        return;
      case "pan":
        stage.viewport.panBy(now[0] - before[0], now[1] - before[1]);
        return;
      case "drag":
        stage.dragged = { number: this.#grab.number, shape: this.#reshaped(at) };
        stage.draw();
        return;
      case "pinch":
        this.#pinch(event.pointerId, before, now);
    }
  }

  #reshaped(at) {
    const { shape, vertex, from } = this.#grab;
    if (vertex !== undefined) return withVertex(shape, vertex, at);
    return moved(shape, [at[0] - from[0], at[1] - from[1]], this.stage.picture.size);
  }

  #pinch(id, before, now) {
    const others = [...this.#down].filter(([key]) => key !== id);
    if (!others.length) return;
    const [, other] = others[0];
    const span = ([x, y]) => Math.max(Math.hypot(x - other[0], y - other[1]), 1);
    const middle = ([x, y]) => [(x + other[0]) / 2, (y + other[1]) / 2];
    this.stage.viewport.zoomBy(span(now) / span(before), middle(now), middle(before));
  }

  #release(event) {
    if (!this.#down.delete(event.pointerId)) return;
    const { stage } = this;
    if (this.#doing === "draw") stage.active.release(this.#at(event));
    if (this.#doing === "drag" && stage.dragged) this.#drop();
    // After a pinch, the finger that is lifted last doesn't draw either.
    if (this.#down.size === 0) this.#doing = null;
    stage.canvas.classList.remove("panning");
    stage.drafted();
  }

  #drop() {
    const { board, dragged, picture } = this.stage;
    const shape = settled(dragged.shape, picture.size);
    this.stage.dragged = null;
    if (hasArea(shape) && JSON.stringify(shape) !== JSON.stringify(this.#grab.shape))
      board.change(dragged.number, shape);
  }

  #lose(event) {
    this.#down.delete(event.pointerId);
    if (this.#down.size === 0) this.#doing = null;
    this.stage.cancel();
  }

  #wheel(event) {
    // Where the page is taller than the window, the wheel without Ctrl goes on scrolling it.
    const { scrollHeight, clientHeight } = document.scrollingElement;
    if (!event.ctrlKey && scrollHeight > clientHeight + 1) return;
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 30 : 1);
    const turn = Math.min(Math.max(pixels, -240), 240);
    const factor = Math.exp(-turn * (event.ctrlKey ? 0.01 : 0.002));
    this.stage.viewport.zoomBy(factor, [event.clientX, event.clientY]);
  }
}
