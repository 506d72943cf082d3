// The viewport: where the picture lies in its window, and positions of the screen as pixels of the picture.
// `zoom` is CSS pixels a pixel of the picture, `x` and `y` its upper left corner in the window. Everything goes
// by client rectangles, so the browser's zoom and the screen's pixel ratio don't matter.

const MARGIN = 20;
const HIGHEST = 64;

/** Tells its listeners of each "change". */
export class Viewport extends EventTarget {
  size = [1, 1];
  zoom = 1;
  x = 0;
  y = 0;
  #fitted = true;

  constructor(element) {
    super();
    this.element = element;
    new ResizeObserver(() => (this.#fitted ? this.fit() : this.#settle())).observe(element);
  }

  show(size) {
    this.size = size;
    this.fit();
  }

  fit() {
    this.zoom = this.#fittingZoom();
    this.x = (this.#width - this.size[0] * this.zoom) / 2;
    this.y = (this.#height - this.size[1] * this.zoom) / 2;
    this.#fitted = true;
    this.#tell();
  }

  /** Zoom by a factor; what is seen at `from` [x, y] of the screen comes to `to` (the middle stays if left out). */
  zoomBy(factor, to = this.#middle(), from = to) {
    const { left, top } = this.element.getBoundingClientRect();
    const least = Math.min(this.#fittingZoom(), 1);
    const zoom = Math.min(Math.max(this.zoom * factor, least), HIGHEST);
    this.x = to[0] - left - (from[0] - left - this.x) * (zoom / this.zoom);
    this.y = to[1] - top - (from[1] - top - this.y) * (zoom / this.zoom);
    this.zoom = zoom;
    this.#fitted = false;
    this.#settle();
  }

  panBy(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.#fitted = false;
    this.#settle();
  }

  /** Pan so that a place of the picture is in the window. */
  reveal([px, py]) {
    const [x, y] = this.toView([px, py]);
    const inside = (value, side) => Math.min(Math.max(value, MARGIN), side - MARGIN);
    const [dx, dy] = [inside(x, this.#width) - x, inside(y, this.#height) - y];
    if (dx || dy) this.panBy(dx, dy);
  }

  /** Pixels of the picture at a position of the screen, kept inside the picture. */
  toPicture([clientX, clientY]) {
    const { left, top } = this.element.getBoundingClientRect();
    const inside = (value, side) => Math.min(Math.max(value, 0), side);
    return [
      inside((clientX - left - this.x) / this.zoom, this.size[0]),
      inside((clientY - top - this.y) / this.zoom, this.size[1]),
    ];
  }

  /** CSS pixels of the window where a place of the picture is. */
  toView([px, py]) {
    return [this.x + px * this.zoom, this.y + py * this.zoom];
  }

  get #width() {
    return this.element.clientWidth;
  }

  get #height() {
    return this.element.clientHeight;
  }

  #fittingZoom() {
    const [width, height] = [this.#width - 2 * MARGIN, this.#height - 2 * MARGIN];
    return Math.max(Math.min(width / this.size[0], height / this.size[1]), 0.01);
  }

  #middle() {
    const { left, top, width, height } = this.element.getBoundingClientRect();
    return [left + width / 2, top + height / 2];
  }

  // A picture smaller than the window stays in the middle; no edge of a larger one comes inside it.
  #settle() {
    const place = (at, length, side) => {
      const room = side - length;
      if (room >= 2 * MARGIN) return room / 2;
      return Math.min(Math.max(at, room - MARGIN), MARGIN);
    };
    this.x = place(this.x, this.size[0] * this.zoom, this.#width);
    this.y = place(this.y, this.size[1] * this.zoom, this.#height);
    this.#tell();
  }

  #tell() {
    this.dispatchEvent(new Event("change"));
  }
}
