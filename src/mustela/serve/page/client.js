// The client: the server's OpenAI-compatible interface. Addresses are relative to the page, so that it works
// behind a proxy that puts it in a folder.

const KEY = "mustela-api-key";

/** What went wrong, in words; `status` is HTTP's, 0 if no answer came; `retryAfter` in seconds or null. */
export class ServerError extends Error {
  constructor(message, status = 0, retryAfter = null) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

export const hasKey = () => Boolean(sessionStorage.getItem(KEY));
export const setKey = (key) => sessionStorage.setItem(KEY, key);
export const address = (path) => new URL(path, document.baseURI).href;

async function call(path, options = {}) {
  const key = sessionStorage.getItem(KEY);
  const headers = { ...(key && { Authorization: `Bearer ${key}` }), ...options.headers };
  let response;
  try {
    response = await fetch(address(path), { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("The server doesn't answer. Is it still running?");
  }
  if (response.ok) return response;
  throw new ServerError(
    await reasonOf(response),
    response.status,
    Number(response.headers.get("Retry-After")) || null,
  );
}

async function reasonOf(response) {
  const text = await response.text();
  try {
    const { error, detail } = JSON.parse(text);
    const message = error?.message ?? detail;
    if (typeof message === "string") return message;
  } catch {
    // Not ours: a proxy's page, say.
  }
  return `The server answered with status ${response.status} ${response.statusText}`.trim();
}

/** The names of the models that the server has. */
export async function models() {
  const { data } = await (await call("v1/models")).json();
  return data.map(({ id }) => id);
}

/**
 * Ask with a streamed answer: yields `{content}` for some more text, `{regions}` for those of the whole text, and
 * `{finish}` for why it ended.
 */
export async function* ask(body, signal) {
  const response = await call("v1/chat/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...body, stream: true }),
    signal,
  });
  for await (const data of events(response.body)) {
    if (data === "[DONE]") return;
    const { error, choices } = JSON.parse(data);
    if (error) throw new ServerError(error.message ?? "The server gave up.");
    const [choice] = choices ?? [];
    if (choice?.delta?.content) yield { content: choice.delta.content };
    if (choice?.delta?.regions) yield { regions: choice.delta.regions };
    if (choice?.finish_reason) yield { finish: choice.finish_reason };
  }
  throw new ServerError("The connection broke in the middle of the answer.");
}

/** The data of server-sent events; lines may end anywhere in a chunk. */
export async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let data = [];
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop();
      for (const line of lines) {
        if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
        else if (line === "" && data.length) {
          yield data.join("\n");
          data = [];
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
