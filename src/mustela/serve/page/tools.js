// Tools: positions in, a shape out. A pointer presses, drags and releases; a keyboard only clicks and hovers.
// Both ways end in `finish(shape)`; `draft` is what the picture shows meanwhile.

import { box, point, polygon, scribble, simplified } from "./shapes.js";

const distance = ([ax, ay], [bx, by]) => Math.hypot(ax - bx, ay - by);
const hasArea = ([ax, ay], [bx, by]) => Math.abs(ax - bx) >= 0.1 && Math.abs(ay - by) >= 0.1;

class Tool {
  /** `finish` takes a shape; `pixels(n)` says how many pixels of the picture n pixels of the screen are. */
  constructor(finish, pixels) {
    this.finish = finish;
    this.pixels = pixels;
    this.draft = null;
  }

  get unfinished() {
    return this.draft !== null;
  }

  press() {}
  drag(at) {
    this.hover(at);
  }
  release(at) {
    this.click(at);
  }
  hover() {}
  back() {
    this.cancel();
  }
  cancel() {
    this.draft = null;
  }
  end(shape) {
    this.cancel();
    this.finish(shape);
  }
}

class PointTool extends Tool {
  click(at) {
    this.end(point(at));
  }
}

// Dragged from corner to corner, or clicked at one and the other: not everyone can drag.
class BoxTool extends Tool {
  press(at) {
    this.pressed = at;
    this.first ??= at;
  }

  release(at) {
    if (distance(this.pressed, at) <= this.pixels(4)) this.click(at, this.pressed === this.first);
    else this.close(at);
  }

  click(at, begins = !this.first) {
    if (begins) this.first = at;
    else this.close(at);
    this.hover(at);
  }

  close(at) {
    if (hasArea(this.first, at)) this.end(box(this.first, at));
  }

  hover(at) {
    if (this.first) this.draft = box(this.first, at);
  }

  cancel() {
    super.cancel();
    this.first = null;
  }
}

class ScribbleTool extends Tool {
  width = 5;

  press(at) {
    this.begin(at);
  }

  begin(at) {
    this.points = [at];
    this.draft = scribble(this.points, this.width);
  }

  hover(at) {
    if (!this.draft || distance(this.points.at(-1), at) < this.pixels(1)) return;
    this.points.push(at);
    this.draft = scribble([...this.points], this.width);
  }

  release(at) {
    this.hover(at);
    this.done();
  }

  click(at) {
    if (this.draft) this.release(at);
    else this.begin(at);
  }

  done() {
    if (this.draft) this.end(scribble(simplified(this.points, this.pixels(0.75)), this.width));
  }
}

class PolygonTool extends Tool {
  corners = [];

  click(at) {
    const reach = this.pixels(10);
    const closes = this.corners.length > 2 && distance(at, this.corners[0]) <= reach;
    if (closes || (this.corners.length && distance(at, this.corners.at(-1)) <= this.pixels(4))) this.done();
    else this.corners.push(at);
    this.hover(at);
  }

  hover(at) {
    if (this.corners.length)
      this.draft = { type: "polygon", rings: [[...this.corners, at].flat()], open: true };
  }

  back() {
    this.corners.pop();
    if (this.corners.length) this.hover(this.corners.at(-1));
    else this.cancel();
  }

  done() {
    if (this.corners.length > 2) this.end(polygon(this.corners));
  }

  cancel() {
    super.cancel();
    this.corners = [];
  }
}

/** The drawing tools by name. */
export function makeTools(finish, pixels) {
  return {
    point: new PointTool(finish, pixels),
    box: new BoxTool(finish, pixels),
    scribble: new ScribbleTool(finish, pixels),
    polygon: new PolygonTool(finish, pixels),
  };
}
