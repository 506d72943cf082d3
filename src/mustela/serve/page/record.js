// Training records: a conversation in the form that `mustela train` reads, and files of several of them.

import { regionsOf } from "./answer.js";
import { crc32, zipped } from "./zip.js";

/** A record of the rounds that have an answer (there must be one), as an object of Ferret's JSON. */
export function recordOf(conversation) {
  const { picture, answered, id } = conversation;
  const turns = answered.flatMap(({ question, answer }) => [question, answer.pieces]);
  const conversations = turns.map((pieces, at) => ({
    from: at % 2 ? "gpt" : "human",
    value: textOf(pieces),
  }));
  conversations[0].value = `<image>\n${conversations[0].value}`;
  const shapes = turns.map((pieces) => regionsOf(pieces).map(({ shape }) => shape));
  const boxesOnly = shapes.flat().every(({ type }) => type === "box");
  const regions = boxesOnly
    ? { box_x1y1x2y2: shapes.map((turn) => turn.map(({ xyxy }) => xyxy)) }
    : { regions: shapes };
  const [image_w, image_h] = picture.size;
  return {
    id,
    image: fileOf(picture),
    image_w,
    image_h,
    conversations,
    ...(shapes.flat().length ? regions : {}),
  };
}

function textOf(pieces) {
  let number = 0;
  return pieces
    .map((piece) => (typeof piece === "string" ? plain(piece) : `<bbox_location${number++}>`))
    .join("")
    .trim();
}

// In a record these words mean a picture and a region, so a text that has them is broken up.
const plain = (text) => text.replaceAll("<image>", "< image>").replaceAll("bbox_location", "bbox location");

// By its content, so that two pictures of one name don't meet.
const fileOf = ({ name, bytes }) => {
  const [, stem, ending] = name.match(/^(.*)\.([^.]*)$/);
  return `${stem}-${crc32(bytes).toString(16).padStart(8, "0")}.${ending}`;
};

/** The records that were saved on this page, the latest version of each conversation. */
export class Collection {
  #saved = new Map();
  /** Whether there is something that no file has yet. */
  unsaved = false;

  get size() {
    return this.#saved.size;
  }

  add(conversation) {
    const record = recordOf(conversation);
    this.#saved.set(conversation, { record, picture: conversation.picture });
    this.unsaved = true;
    return record;
  }

  remove(conversation) {
    this.#saved.delete(conversation);
    this.unsaved = this.unsaved && this.size > 0;
  }

  get jsonl() {
    return [...this.#saved.values()].map(({ record }) => `${JSON.stringify(record)}\n`).join("");
  }

  /** `records.jsonl` and `images/` in one archive. */
  get zip() {
    const pictures = new Map(
      [...this.#saved.values()].map(({ record, picture }) => [`images/${record.image}`, picture.bytes]),
    );
    return zipped([["records.jsonl", new TextEncoder().encode(this.jsonl)], ...pictures]);
  }
}
