// The page: one conversation about one picture, and everything that belongs to it.

import { labelsOf, regionsOf } from "./answer.js";
import { Asking } from "./asking.js";
import { Board } from "./board.js";
import { Conversation } from "./conversation.js";
import { Correction, NOUN as CORRECTED } from "./correction.js";
import { CodeDialog, RecordDialog, startHelp } from "./dialogs.js";
import { byId } from "./dom.js";
import { Field } from "./field.js";
import { listen, showExamples } from "./intake.js";
import { Links } from "./links.js";
import { announce, copy, toast } from "./notices.js";
import { openPicture, PictureError } from "./picture.js";
import { Collection } from "./record.js";
import { Server } from "./server.js";
import { described } from "./shapes.js";
import { Stage } from "./stage.js";
import { Strip } from "./strip.js";
import { startTheme } from "./theme.js";
import { answerKey, Thread } from "./thread.js";
import { Toolbar } from "./toolbar.js";

const HINTS = {
  region: "Draw on the picture: each region gets a number and goes into your question.",
  [CORRECTED]: "Draw a box to add it to the answer.",
};

class Page {
  conversation = null;
  correction = null;
  board = new Board({ take: () => "" });
  #activeRound = null;

  constructor() {
    this.server = new Server();
    this.field = new Field(byId("question-field"), { colorOf: (number) => this.board.find(number)?.color });
    const parts = { canvas: byId("canvas"), image: byId("picture"), svg: byId("overlay") };
    this.stage = new Stage(parts, this.board);
    this.toolbar = new Toolbar(this.stage);
    this.strip = new Strip(byId("regions"), { insert: (number) => this.#insert(number) });
    this.collection = new Collection();
    this.codeDialog = new CodeDialog();
    this.recordDialog = new RecordDialog(this.collection);
    this.links = new Links();
    this.thread = new Thread(byId("rounds"), byId("thread"), {
      keyOf: (index, piece) => this.#questionKey(index, piece),
      actions: {
        correct: (round) => this.#correct(round),
        copy: (round, button) => copy(this.conversation.said(round.answer), button),
        retry: (round) => this.asking.start(round),
        activate: (index) => this.#activate(index),
      },
    });
    this.asking = new Asking(this);
    this.#listen();
  }

  #listen() {
    const on = (id, react) => byId(id).addEventListener("click", react);
    on("new-conversation", () => this.#restart());
    on("copy-code", () => this.#showCode());
    on("save-record", () => this.recordDialog.open(this.conversation));
    this.stage.addEventListener("drawn", ({ detail }) => this.#drawn(detail));
    this.stage.addEventListener("say", ({ detail }) => announce(detail));
    this.stage.addEventListener("drawing", () => this.links.refresh());
    document.addEventListener("keydown", (event) => this.#undoKeys(event));
    window.addEventListener("beforeunload", (event) => this.collection.unsaved && event.preventDefault());
    listen({ open: (file) => this.open(file), complain: toast });
  }

  /** Show a picture and begin a conversation about it; resolves to whether that went well. */
  async open(file, name) {
    byId("loading").hidden = false;
    try {
      this.#begin(new Conversation(await openPicture(file, name)));
      return true;
    } catch (error) {
      if (!(error instanceof PictureError)) throw error;
      toast(error.message);
      return false;
    } finally {
      byId("loading").hidden = true;
    }
  }

  async openExample(file, { file: name, question, regions }) {
    if (!(await this.open(file, name))) return;
    for (const shape of regions) this.board.add(shape);
    this.field.text = question;
    this.field.area.focus();
  }

  #begin(conversation) {
    this.#leave();
    this.#take(conversation, new Board(conversation.colors));
    const { picture } = conversation;
    announce(`Picture ${picture.name}, ${picture.size.join(" by ")} pixels`);
  }

  /** Leave the conversation for another one; the way back is open for a while. */
  #leave() {
    this.asking.stop();
    if (this.correction) this.#endCorrection(null);
    const { conversation, board, field } = this;
    if (!conversation?.rounds.length) return;
    const { text } = field;
    toast("A new conversation has begun.", [
      "Back to the old one",
      () => (this.#take(conversation, board), (field.text = text)),
    ]);
  }

  #restart() {
    const { picture } = this.conversation;
    this.#leave();
    const conversation = new Conversation(picture);
    this.#take(conversation, new Board(conversation.colors));
  }

  #take(conversation, board) {
    const { picture } = conversation;
    Object.assign(this, { conversation, board });
    this.#activeRound = null;
    board.addEventListener("change", ({ detail }) => this.#boardChanged(board, this.field, detail));
    document.body.classList.add("has-picture");
    byId("empty").hidden = true;
    byId("canvas").hidden = false;
    byId("canvas").setAttribute("aria-label", `Picture ${picture.name}, ${picture.size.join(" by ")} pixels`);
    this.field.text = "";
    this.#draw(board, "region");
    if (this.stage.picture !== picture) this.stage.show(picture);
    this.thread.show(conversation.rounds);
    this.changed();
  }

  // Whose regions are drawn: the question's, or those of an answer that is corrected.
  #draw(board, noun) {
    const correcting = noun === CORRECTED;
    this.stage.noun = noun;
    this.stage.allowed = correcting ? ["point", "box"] : ["point", "box", "scribble", "polygon"];
    this.stage.setBoard(board);
    this.toolbar.setBoard(board);
    if (correcting || !this.stage.allowed.includes(this.stage.tool))
      this.stage.choose(correcting ? "move" : "box");
    this.strip.show(board, noun, this.conversation.picture.size);
    this.#hint(board, noun);
  }

  #hint(board, noun) {
    byId("regions-hint").textContent = HINTS[noun];
    byId("regions-hint").hidden = board.regions.length > 0;
  }

  /** Bring everything up to date with the conversation. */
  changed() {
    const answered = this.conversation.answered.length > 0;
    byId("new-conversation").disabled = this.conversation.rounds.length === 0;
    byId("save-record").disabled = !answered || Boolean(this.correction);
    byId("copy-code").disabled = false;
    this.#mark();
  }

  #boardChanged(board, field, { added, removed }) {
    for (const { number } of removed) field.remove(number);
    for (const { number } of added) field.insert(number);
    field.paint();
    this.#hint(board, this.stage.noun);
    this.thread.rekey();
    this.#mark();
  }

  #drawn({ shape, by }) {
    const field = this.correction?.field ?? this.field;
    // Whoever drew with a mouse types next; a finger would bring up the keyboard over the picture.
    if (by === "mouse" || by === "pen") field.area.focus({ preventScroll: true });
    const { number } = this.stage.board.add(shape);
    announce(`${this.stage.noun} ${number} added: ${described(shape)}`);
  }

  #insert(number) {
    const field = this.correction?.field ?? this.field;
    field.area.focus();
    field.insert(number);
  }

  #undoKeys(event) {
    if (!(event.ctrlKey || event.metaKey) || event.altKey || document.querySelector("dialog[open]")) return;
    const key = event.key.toLowerCase();
    const redo = key === "y" || (key === "z" && event.shiftKey);
    if (key !== "z" && key !== "y") return;
    // In a text, what was typed after the last drawing is the browser's to undo.
    if (event.target.matches("textarea, input") && !this.toolbar.drewLast) return;
    event.preventDefault();
    if (redo) this.stage.board.redo();
    else this.stage.board.undo();
  }

  #questionKey(index, piece) {
    const now = this.board.find(piece.number);
    return now?.shape === piece.shape ? `region-${piece.number}` : `asked-${index}-${piece.number}`;
  }

  #activate(index) {
    if (this.#activeRound === index || this.correction) return;
    this.#activeRound = index;
    // Not at once: the pointer may just be coming to an element that this would replace.
    requestAnimationFrame(() => this.#mark());
  }

  // The boxes of one round are on the picture: the one pointed at, else the last. Regions of its question that
  // were moved or deleted since are shown as they were.
  #mark() {
    const { rounds } = this.conversation;
    const index = this.correction
      ? rounds.indexOf(this.correction.round)
      : (this.#activeRound ?? rounds.length - 1);
    const round = rounds[index];
    if (!round) return this.stage.setMarks([]);
    const asked = regionsOf(round.question).map((piece) => ({
      ...piece,
      key: this.#questionKey(index, piece),
      label: `region ${piece.number}`,
    }));
    const gone = this.correction ? asked : asked.filter(({ key }) => key.startsWith("asked-"));
    const labels = labelsOf(round.answer.pieces);
    const found = this.correction ? [] : regionsOf(round.answer.pieces);
    const boxes = found.map(({ shape, color }, at) => ({
      shape,
      color,
      key: answerKey(index, at),
      label: labels[at],
    }));
    this.stage.setMarks([...gone, ...boxes]);
  }

  #correct(round) {
    if (this.correction) this.#endCorrection(null);
    const correction = new Correction(round, this.conversation.colors, (pieces) =>
      this.#endCorrection(pieces),
    );
    correction.board.addEventListener("change", ({ detail }) =>
      this.#boardChanged(correction.board, correction.field, detail),
    );
    this.correction = correction;
    this.thread.replaceAnswer(round, correction.element);
    this.#draw(correction.board, CORRECTED);
    correction.focus();
    this.changed();
  }

  #endCorrection(pieces) {
    const { round } = this.correction;
    this.correction = null;
    if (pieces) this.conversation.correct(round.answer, pieces);
    this.#draw(this.board, "region");
    this.thread.replaceAnswer(round, null);
    this.changed();
    if (pieces) toast("Corrected. Save it as a training record to teach it.");
    this.field.area.focus({ preventScroll: true });
  }

  #showCode() {
    const { rounds, answered } = this.conversation;
    const written = this.asking.written();
    const last = rounds.at(-1);
    // What stands in the field, else the last question once more.
    const question = written.pieces ?? last?.question ?? ["What is in this picture?"];
    const before = written.pieces ? answered : answered.filter((round) => round !== last);
    this.codeDialog.open(
      this.conversation.request(this.server.model ?? "model", before, question),
      this.conversation.picture,
    );
  }
}

startTheme();
startHelp();
const page = new Page();
page.server.connect();
showExamples((file, example) => page.openExample(file, example));
