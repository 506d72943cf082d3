// Asking: the question that is written, and its answer as it comes in.

import { regionsOf } from "./answer.js";
import { ask, ServerError } from "./client.js";
import { byId } from "./dom.js";
import { announce } from "./notices.js";
import { askForKey } from "./server.js";

export class Asking {
  #controller = null;

  constructor(page) {
    this.page = page;
    this.area = byId("question");
    byId("composer").addEventListener("submit", (event) => (event.preventDefault(), this.#submit()));
    byId("stop").addEventListener("click", () => this.stop());
    this.area.addEventListener("input", () => this.#complain(""));
    this.area.addEventListener("keydown", (event) => {
      // An input method's Enter chooses a word.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
  }

  /** The question in the field: `{pieces}`, or `{fault}`, why it can't be asked. */
  written() {
    const { field, board, conversation } = this.page;
    if (!conversation) return { fault: "Choose a picture first." };
    if (!field.text.trim()) return { fault: "Write a question first." };
    const pieces = field.parts.map((part) =>
      typeof part === "string" ? part : (board.find(part.number) ?? part),
    );
    const missing = regionsOf(pieces).find(({ shape }) => !shape);
    if (missing)
      return {
        fault: `There is no region ${missing.number}. Draw it, or take its name out of the question.`,
      };
    return { pieces };
  }

  #submit() {
    const { page } = this;
    if (this.#controller) return;
    const { pieces, fault } = this.written();
    if (fault || !page.server.model) return this.#complain(fault ?? "The server isn't ready yet.");
    const round = page.conversation.ask(pieces);
    page.board.keep(Math.max(0, ...regionsOf(pieces).map(({ number }) => number)));
    page.field.text = "";
    this.start(round);
  }

  #complain(text) {
    byId("question-fault").textContent = text;
  }

  stop() {
    this.#controller?.abort();
  }

  /** Ask the question of a round, after the rounds before it. */
  async start(round) {
    const { conversation, thread, server } = this.page;
    if (this.#controller) return;
    const { answer } = round;
    Object.assign(answer, {
      state: "waiting",
      text: "",
      pieces: [],
      fault: null,
      cut: null,
      corrected: false,
    });
    thread.update(round);
    this.page.changed();
    const before = conversation.answered.filter(
      (other) => conversation.rounds.indexOf(other) < conversation.rounds.indexOf(round),
    );
    const controller = new AbortController();
    this.#run(controller);
    let regions = [];
    try {
      for await (const part of ask(
        conversation.request(server.model, before, round.question),
        controller.signal,
      )) {
        if (part.content) answer.text += part.content;
        if (part.regions) regions = part.regions;
        if (part.finish) answer.cut = part.finish;
        if (part.content) thread.stream(round);
      }
      conversation.finish(answer, regions, "done");
      announce(`Answer: ${spoken(answer)}`);
    } catch (error) {
      if (error.name === "AbortError") conversation.finish(answer, [], "stopped");
      else this.#fail(round, error);
    } finally {
      this.#run(null);
    }
    if (conversation !== this.page.conversation) return;
    thread.update(round);
    this.page.changed();
    if (answer.fault?.status === 401 && (await askForKey(answer.fault.message))) this.start(round);
  }

  #fail(round, error) {
    if (!(error instanceof ServerError)) console.error(error);
    const fault = error instanceof ServerError ? error : new ServerError("The answer can't be read.");
    Object.assign(round.answer, { state: "failed", fault });
  }

  #run(controller) {
    this.#controller = controller;
    const hadFocus = [byId("send"), byId("stop")].includes(document.activeElement);
    byId("stop").hidden = !controller;
    byId("send").hidden = Boolean(controller);
    if (hadFocus) byId(controller ? "stop" : "send").focus();
  }
}

function spoken({ pieces }) {
  const boxes = regionsOf(pieces).length;
  const words = pieces.filter((piece) => typeof piece === "string").join(" ");
  return boxes ? `${words} (${boxes} on the picture)` : words;
}
