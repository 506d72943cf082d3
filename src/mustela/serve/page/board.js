// The board: the numbered regions on a picture, which of them is chosen, and every earlier state for undo.

/** Colours of regions and boxes, in turn; those of the pictures that `mustela ask` draws. */
export const PALETTE = [
  "#ff453a",
  "#0a84ff",
  "#30d158",
  "#ff9f0a",
  "#bf5af2",
  "#00c7be",
  "#ffd60a",
  "#ff3787",
  "#a3e635",
  "#ac8e68",
];

/** Hands out colours so that neighbours in time differ. */
export class Colors {
  next = 0;

  take() {
    const color = PALETTE[this.next % PALETTE.length];
    this.next += 1;
    return color;
  }
}

/** Tells its listeners of each "change": `detail` has the regions `added` and `removed`. */
export class Board extends EventTarget {
  #states = [[]];
  #at = 0;
  #colors;
  #highest = 0;
  chosen = null;

  constructor(colors, regions = []) {
    super();
    this.#colors = colors;
    this.#states = [regions];
    this.#highest = Math.max(0, ...regions.map((region) => region.number));
  }

  get regions() {
    return this.#states[this.#at];
  }

  get canUndo() {
    return this.#at > 0;
  }

  get canRedo() {
    return this.#at < this.#states.length - 1;
  }

  find(number) {
    return this.regions.find((region) => region.number === number);
  }

  /** Add a shape under the next number and return its region. */
  add(shape) {
    const number = Math.max(this.#highest, ...this.regions.map((region) => region.number)) + 1;
    const region = { number, shape, color: this.#colors.take() };
    this.#become([...this.regions, region]);
    return region;
  }

  change(number, shape) {
    this.#become(this.regions.map((region) => (region.number === number ? { ...region, shape } : region)));
  }

  remove(number) {
    this.#become(this.regions.filter((region) => region.number !== number));
  }

  /** Numbers up to here stand in questions that were asked, and won't name another region. */
  keep(number) {
    this.#highest = Math.max(this.#highest, number);
  }

  choose(number) {
    if (this.chosen === number) return;
    this.chosen = number;
    this.#tell([], []);
  }

  undo() {
    if (this.canUndo) this.#go(this.#at - 1);
  }

  redo() {
    if (this.canRedo) this.#go(this.#at + 1);
  }

  #become(regions) {
    this.#states = [...this.#states.slice(0, this.#at + 1), regions];
    this.#go(this.#at + 1);
  }

  #go(to) {
    const [before, after] = [this.regions, this.#states[to]];
    const missing = (all, others) =>
      all.filter((one) => !others.some((other) => other.number === one.number));
    this.#at = to;
    if (!this.find(this.chosen)) this.chosen = null;
    this.#tell(missing(after, before), missing(before, after));
  }

  #tell(added, removed) {
    this.dispatchEvent(new CustomEvent("change", { detail: { added, removed } }));
  }
}
