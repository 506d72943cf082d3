// Notices: what the page tells, and what it hands out as a file or over the clipboard.

import { byId, make } from "./dom.js";

let timer = 0;

/** Say something to a screen reader only. */
export function announce(text) {
  byId("status").textContent = text;
}

/** Show a line for some seconds, with a button if `action` is given as `[label, function]`. */
export function toast(text, action = null) {
  const element = byId("toast");
  const hide = () => (element.hidden = true);
  const button =
    action && make("button", { type: "button", text: action[0], onclick: () => (hide(), action[1]()) });
  element.replaceChildren(make("span", { text }), ...(button ? [button] : []));
  element.hidden = false;
  clearTimeout(timer);
  timer = setTimeout(hide, action ? 10000 : 5000);
}

/** Hand out a Blob as a file. */
export function download(name, blob) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

/** Copy a text; `near` is an element beside which a helper may stand where the clipboard is closed to pages. */
export async function copy(text, near) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without HTTPS only the old way is open, from a selection inside the dialog that is shown.
    const area = make("textarea", { class: "hidden" });
    area.value = text;
    near.after(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    near.focus();
    if (!copied) return toast("The browser doesn't allow copying here.");
  }
  toast("Copied.");
}
