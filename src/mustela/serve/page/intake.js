// The intake: how a picture comes in. A file that is chosen, dropped or pasted, or an example.

import { byId, make } from "./dom.js";
import { pictureAmong } from "./picture.js";

const EXAMPLES = "page/examples/";

/** `open(file, name)` takes a file; `openExample(file, example)` one of the examples; `complain(text)` a fault. */
export function listen({ open, complain }) {
  const input = byId("file");
  const choose = () => input.click();
  byId("choose").addEventListener("click", choose);
  byId("other-picture").addEventListener("click", choose);
  input.addEventListener("change", () => {
    if (input.files.length) open(input.files[0]);
    input.value = "";
  });
  document.addEventListener("paste", (event) => {
    const file = pictureAmong(event.clipboardData);
    if (!file) return;
    event.preventDefault();
    open(file);
  });
  listenToDrops(open, complain);
}

function listenToDrops(open, complain) {
  const veil = byId("veil");
  let depth = 0;
  const enter = (by) => {
    depth = Math.max(depth + by, 0);
    veil.hidden = depth === 0;
  };
  document.addEventListener("dragenter", () => enter(1));
  document.addEventListener("dragleave", () => enter(-1));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    enter(-depth);
    const file = pictureAmong(event.dataTransfer);
    if (file) open(file);
    else complain("That was no file. Save the picture first, and drop its file.");
  });
}

/** Show the examples that came with the page; without them the page works as well. */
export async function showExamples(openExample) {
  const response = await fetch(`${EXAMPLES}examples.json`);
  if (!response.ok) return;
  const examples = await response.json();
  const items = examples.map((example) => {
    const [width, height] = example.size;
    const image = make("img", { src: EXAMPLES + example.file, alt: "", width, height, loading: "lazy" });
    const question = example.question.replace(/\[region (\d+)\]/g, "region\u00a0$1");
    const label = make("span", { text: question });
    const open = async () => {
      const blob = await (await fetch(EXAMPLES + example.file)).blob();
      openExample(blob, example);
    };
    return make("li", {}, make("button", { type: "button", class: "example", onclick: open }, image, label));
  });
  byId("examples").replaceChildren(...items);
  byId("examples-section").hidden = items.length === 0;
}
