// Links: things with one key, on the picture and in the text, light up together under the pointer or the focus.

/** Where a click does something else. */
const ACTING = '.strip, .canvas:not([data-tool="move"])';

export class Links {
  #key = null;
  #kept = null;

  constructor(root = document) {
    root.addEventListener("pointermove", (event) => this.#light(keyUnder(event) ?? this.#kept));
    root.addEventListener("focusin", (event) =>
      this.#light(event.target.closest("[data-key]")?.dataset.key ?? this.#kept),
    );
    root.addEventListener("pointerleave", () => this.#light(this.#kept));
    root.addEventListener("click", (event) =>
      this.#keep(event.target.closest(ACTING) ? null : keyUnder(event)),
    );
  }

  /** Show what is lit on elements that are new. */
  refresh() {
    let some = false;
    for (const element of document.querySelectorAll("[data-key]")) {
      const lit = element.dataset.key === this.#key;
      element.classList.toggle("lit", lit);
      some ||= lit;
    }
    document.body.classList.toggle("lighting", some);
  }

  // A click keeps words and box lit, another one anywhere ends that: the way for those who can't hover.
  #keep(key) {
    this.#kept = key === this.#kept ? null : key;
    this.#light(this.#kept);
  }

  #light(key) {
    if (key === this.#key) return;
    this.#key = key;
    this.refresh();
  }
}

function keyUnder({ target, clientX, clientY, buttons }) {
  if (buttons || !(target instanceof Element)) return null;
  const own = target.closest("[data-key]");
  if (own) return own.dataset.key;
  if (target.tagName !== "TEXTAREA") return null;
  // The chips of a question lie behind its text area.
  const behind = document
    .elementsFromPoint(clientX, clientY)
    .find((element) => element.closest(".backdrop [data-key]"));
  return behind?.closest("[data-key]").dataset.key ?? null;
}
