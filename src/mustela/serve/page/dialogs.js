// Dialogs: the request as code, the training records, help.

import { regionsOf } from "./answer.js";
import { address, hasKey } from "./client.js";
import { byId, check, radios } from "./dom.js";
import { laidOut } from "./layout.js";
import { copy, download, toast } from "./notices.js";
import { hasArea } from "./shapes.js";
import { asCurl, asPython } from "./snippets.js";

const LANGUAGES = { curl: asCurl, python: asPython };

export class CodeDialog {
  constructor() {
    this.dialog = byId("code-dialog");
    const choice = this.dialog.querySelector(".tabs");
    radios(choice, (radio) => this.#choose(radio.dataset.language));
    byId("copy").addEventListener("click", (event) => copy(byId("code").textContent, event.currentTarget));
    byId("save-picture").addEventListener("click", () => {
      const { picture } = this;
      download(picture.name, new Blob([picture.bytes]));
    });
    this.choice = choice;
    this.language = "curl";
  }

  open(body, picture) {
    Object.assign(this, { body, picture });
    byId("code-lead").textContent = `It reads the picture from ${picture.name} in the folder where it runs.`;
    this.#choose(this.language);
    this.dialog.showModal();
  }

  #choose(language) {
    this.language = language;
    check(this.choice, (radio) => radio.dataset.language === language);
    const where = { url: address("v1/chat/completions"), picture: this.picture, key: hasKey() };
    byId("code").textContent = LANGUAGES[language](this.body, where);
  }
}

export class RecordDialog {
  constructor(collection) {
    this.dialog = byId("record-dialog");
    this.collection = collection;
    const save = (name, make) => {
      download(name, make());
      collection.unsaved = false;
      this.dialog.close();
    };
    byId("save-zip").addEventListener("click", () => save("records.zip", () => collection.zip));
    byId("save-jsonl").addEventListener("click", () =>
      save("records.jsonl", () => new Blob([collection.jsonl], { type: "application/jsonl" })),
    );
    byId("drop-record").addEventListener("click", () => {
      collection.remove(this.conversation);
      this.dialog.close();
      toast("The record is taken out.");
    });
  }

  /** Add a conversation to the collection and show its record. */
  open(conversation) {
    const empty = conversation.answered.findIndex(
      ({ answer }) => !regionsOf(answer.pieces).every(({ shape }) => hasArea(shape)),
    );
    if (empty >= 0) return toast(`Answer ${empty + 1} has a box without area. Correct it first.`);
    const record = this.collection.add(conversation);
    this.conversation = conversation;
    const { size } = this.collection;
    const rounds = record.conversations.length / 2;
    byId("record-lead").textContent =
      `${rounds === 1 ? "One round" : `${rounds} rounds`} about ${conversation.picture.name}. ` +
      `${size === 1 ? "It is the first record" : `It is one of ${size} records`} collected on this page; ` +
      "saving again replaces it.";
    byId("record").textContent = laidOut(record);
    this.dialog.showModal();
  }
}

export function startHelp() {
  byId("help").addEventListener("click", () => byId("help-dialog").showModal());
  for (const dialog of document.querySelectorAll("dialog")) {
    // A click on what is behind a dialog closes it.
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  }
}
