// Snippets: the request of the page as a command for the shell and as Python. The picture comes from its file,
// and a key from the environment, so what is copied holds no secret and fits on a screen.

import { laidOut } from "./layout.js";

const PICTURE = "@@picture@@";
const KEY_VARIABLE = "MUSTELA_API_KEY";

function withPicture(body, url) {
  const [first, ...others] = body.messages;
  const content = first.content.map((part) =>
    part.type === "image_url" ? { ...part, image_url: { url } } : part,
  );
  return { ...body, messages: [{ ...first, content }, ...others] };
}

const quotedForShell = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** A command with curl for a POSIX shell. */
export function asCurl(body, { url, picture, key }) {
  const json = laidOut(withPicture(body, PICTURE));
  // In an unquoted here-document these three mean something.
  const escaped = json.replace(/[\\$`]/g, "\\$&");
  const file = quotedForShell(picture.name);
  const data = `data:${mediaType(picture)};base64,$(base64 < ${file} | tr -d '\\n')`;
  const header = key ? ` \\\n  -H "Authorization: Bearer $${KEY_VARIABLE}"` : "";
  return [
    `curl -sS ${quotedForShell(url)} \\`,
    `  -H 'Content-Type: application/json'${header} \\`,
    "  --data-binary @- <<JSON",
    escaped.replace(PICTURE, () => data),
    "JSON",
    "",
  ].join("\n");
}

/** A script for the official client of Python. JSON's texts, numbers, lists and objects are Python's as well. */
export function asPython(body, { url, picture, key }) {
  const { model, messages, regions, temperature } = withPicture(body, PICTURE);
  const base = url.replace(/\/chat\/completions$/, "");
  const inside = { step: 4, indent: 4 };
  return `${key ? "import os\n" : ""}from base64 import b64encode
from pathlib import Path

from openai import OpenAI

client = OpenAI(base_url=${JSON.stringify(base)}, api_key=${key ? `os.environ["${KEY_VARIABLE}"]` : '"none"'})
picture = b64encode(Path(${JSON.stringify(picture.name)}).read_bytes()).decode()

response = client.chat.completions.create(
    model=${JSON.stringify(model)},
    temperature=${temperature},
    messages=${laidOut(messages, inside).replace(`"${PICTURE}"`, () => `f"data:${mediaType(picture)};base64,{picture}"`)},
    extra_body=${laidOut({ regions }, inside)},
)
message = response.choices[0].message
print(message.content)
print(message.regions)
`;
}

const mediaType = (picture) => picture.dataUrl.slice(5, picture.dataUrl.indexOf(";"));
