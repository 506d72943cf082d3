// The server's state in the head of the page: its models, or why there are none yet.

import { models, setKey } from "./client.js";
import { byId, make } from "./dom.js";

const RETRY_MS = 3000;

/** Ask for the key of the server until one is given. */
export function askForKey(reason = "") {
  const dialog = byId("key-dialog");
  if (reason) byId("key-lead").textContent = reason;
  byId("key").value = "";
  dialog.showModal();
  return new Promise((done) =>
    dialog.addEventListener(
      "close",
      () => done(byId("key").value !== "" && (setKey(byId("key").value), true)),
      { once: true },
    ),
  );
}

export class Server {
  /** The chosen model's name, null while there is none. */
  model = null;

  async connect() {
    try {
      this.#show(await models());
    } catch (error) {
      await this.#wait(error);
      return this.connect();
    }
  }

  async #wait(error) {
    if (error.status === 401 || error.status === 403) {
      this.#say("waiting", "A key is needed");
      if (await askForKey()) return;
    }
    this.#say("away", error.status === 503 ? "The model is being loaded…" : error.message);
    await new Promise((done) => setTimeout(done, RETRY_MS));
  }

  #say(state, text) {
    byId("model").dataset.state = state;
    byId("model-name").textContent = text;
  }

  #show(names) {
    this.model = names[0] ?? null;
    this.#say(this.model ? "ready" : "away", this.model ?? "The server has no model.");
    const choice = byId("model-choice");
    choice.replaceChildren(...names.map((name) => make("option", { value: name, text: name })));
    choice.addEventListener("change", () => (this.model = choice.value));
    const several = names.length > 1;
    choice.closest("label").hidden = !several;
    byId("model-name").hidden = several;
  }
}
