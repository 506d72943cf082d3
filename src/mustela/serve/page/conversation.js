// A conversation: one picture and rounds of question and answer, and how they are written as a request.

import { handwriting, joined, piecesOf, regionsOf } from "./answer.js";
import { Colors } from "./board.js";

export class Conversation {
  /** `{question, answer}`; a question is pieces, an answer `{state, text, pieces, fault, corrected}`. */
  rounds = [];
  colors = new Colors();

  constructor(picture) {
    this.picture = picture;
    this.id = `${picture.name.replace(/\.[^.]*$/, "")}-${Date.now().toString(36)}`;
  }

  ask(question) {
    const answer = { state: "waiting", text: "", pieces: [], fault: null, corrected: false };
    const round = { question, answer };
    this.rounds.push(round);
    return round;
  }

  /** Take the whole text of an answer with the regions that the server found in it. */
  finish(answer, regions, state) {
    answer.state = state;
    answer.pieces = piecesOf(answer.text, regions, this.colors);
  }

  correct(answer, pieces) {
    answer.pieces = pieces;
    answer.corrected = true;
  }

  /** The rounds that have an answer: what a next question or a training record builds on. */
  get answered() {
    return this.rounds.filter(
      ({ answer }) => ["done", "stopped"].includes(answer.state) && textOf(answer.pieces),
    );
  }

  /** The body of a request that asks a question after earlier rounds. */
  request(model, rounds, question) {
    const messages = rounds.flatMap(({ question: earlier, answer }) => [
      { role: "user", content: asked(earlier) },
      { role: "assistant", content: this.said(answer) },
    ]);
    messages.push({ role: "user", content: asked(question) });
    const picture = { type: "image_url", image_url: { url: this.picture.dataUrl } };
    messages[0].content = [picture, { type: "text", text: messages[0].content }];
    const regions = [...rounds.map((round) => round.question), question].flatMap(regionsOf);
    return { model, messages, regions: regions.map(({ shape }) => shape), temperature: 0 };
  }

  /** An answer as the model writes it, corrected or not. */
  said(answer) {
    if (!answer.corrected) return answer.text;
    const write = handwriting(this.#examples(), this.picture.size);
    return joined(answer.pieces, ({ raw, shape }) => raw ?? write(shape));
  }

  #examples() {
    return this.rounds
      .flatMap(({ answer }) => regionsOf(answer.pieces))
      .filter(({ raw }) => raw !== undefined);
  }
}

const asked = (pieces) => joined(pieces, () => "<region>").trim();

/** Whether pieces say anything. */
const textOf = (pieces) => joined(pieces, () => "x").trim();
