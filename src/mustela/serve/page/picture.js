// A picture as it is sent, and as the browser shows it: upright, by its EXIF orientation, like the server.

/** What the server reads as it is; anything else that the browser shows is sent as PNG. */
const SENT_AS_IS = ["image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp"];
const ENDINGS = {
  "image/jpeg": "jpg",
  "image/png": "png",
  "image/webp": "webp",
  "image/gif": "gif",
  "image/bmp": "bmp",
};

export class PictureError extends Error {}

/** A picture: `url` to show, `dataUrl` to send, `bytes`, `name` with ending, and `size` [width, height] upright. */
export async function openPicture(file, name = file.name ?? "") {
  let bytes = new Uint8Array(await file.arrayBuffer());
  let type = typeOf(bytes) ?? file.type;
  let url = URL.createObjectURL(new Blob([bytes], { type }));
  let shown = await decoded(url, name);
  if (!SENT_AS_IS.includes(type) || turnsUnevenly(bytes, type)) {
    const redrawn = await asPng(shown);
    URL.revokeObjectURL(url);
    type = "image/png";
    bytes = new Uint8Array(await redrawn.arrayBuffer());
    url = URL.createObjectURL(redrawn);
    shown = await decoded(url, name);
  }
  const stem = name
    .replace(/\.[^.]*$/, "")
    .replace(/[^\p{L}\p{N}_-]+/gu, "-")
    .replace(/^-+|-+$/g, "");
  return {
    url,
    bytes,
    name: `${stem || "picture"}.${ENDINGS[type]}`,
    dataUrl: await dataUrlOf(new Blob([bytes], { type })),
    size: [shown.naturalWidth, shown.naturalHeight],
  };
}

async function decoded(url, name) {
  const image = new Image();
  image.src = url;
  try {
    await image.decode();
  } catch {
    URL.revokeObjectURL(url);
    throw new PictureError(`${name || "This file"} is not a picture that the browser can show.`);
  }
  return image;
}

function typeOf(bytes) {
  const starts = (text, at = 0) => [...text].every((letter, i) => bytes[at + i] === letter.charCodeAt(0));
  if (starts("\xff\xd8\xff")) return "image/jpeg";
  if (starts("\x89PNG")) return "image/png";
  if (starts("RIFF") && starts("WEBP", 8)) return "image/webp";
  if (starts("GIF8")) return "image/gif";
  return starts("BM") ? "image/bmp" : null;
}

// Everyone turns a JPEG by its EXIF orientation. In PNG and WebP some browsers do and some don't, so there the
// picture is redrawn as it is seen, and can't mean anything else on the server.
function turnsUnevenly(bytes, type) {
  const view = new DataView(bytes.buffer);
  if (type === "image/webp") return view.getUint32(12) === 0x56503858 && (bytes[20] & 8) !== 0;
  if (type !== "image/png") return false;
  for (let at = 8; at + 8 <= bytes.length; at += view.getUint32(at) + 12) {
    const chunk = view.getUint32(at + 4);
    if (chunk === 0x65584966) return true;
  }
  return false;
}

async function asPng(image) {
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  canvas.getContext("2d").drawImage(image, 0, 0);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
  if (!blob) throw new PictureError("This picture is too large for the browser to convert.");
  return blob;
}

function dataUrlOf(blob) {
  return new Promise((done, fail) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.onerror = () => fail(new PictureError("The picture can't be read."));
    reader.readAsDataURL(blob);
  });
}

/** The first picture among dropped or pasted things, null if there is none. */
export function pictureAmong(transfer) {
  const files = [...(transfer?.files ?? [])];
  return files.find((file) => file.type.startsWith("image/")) ?? files[0] ?? null;
}
