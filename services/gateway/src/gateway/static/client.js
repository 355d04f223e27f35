// The REST surface. Every failure is a Problem with a code and a sentence.

const SESSION = "/v1/session";

export class Problem extends Error {
  constructor(status, code, detail, retryAfter = null) {
    super(detail);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "unreachable", "Darkroom does not answer.");
  }
  const told = await answer.json().catch(() => null);
  if (!answer.ok) {
    // The session is over: after a reload there is the page to sign in. That one asks here, too.
    if (answer.status === 401 && path !== SESSION) location.reload();
    const wait = Number(answer.headers.get("Retry-After")) || null;
    throw new Problem(answer.status, told?.code ?? "unknown", told?.detail ?? `Error ${answer.status}.`, wait);
  }
  return { status: answer.status, told };
}

const get = async (path, signal) => (await ask(path, { signal })).told;

function query(parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined);
  return new URLSearchParams(given).toString();
}

export const photos = (parameters, signal) => get(`/v1/photos?${query(parameters)}`, signal);
export const photo = (id) => get(`/v1/photos/${encodeURIComponent(id)}`);
export const search = (parameters, signal) => get(`/v1/search?${query(parameters)}`, signal);
export const imports = (limit) => get(`/v1/imports?${query({ limit })}`);
export const files = (batch, parameters) => get(`/v1/imports/${encodeURIComponent(batch)}/photos?${query(parameters)}`);
export const failures = (batch, parameters) => get(`/v1/imports/${encodeURIComponent(batch)}/failures?${query(parameters)}`);
export const system = () => get("/v1/system");

/** Hand in a file; {fresh, photo}. */
export async function upload(file) {
  const path = `/v1/photos?${query({ lane: "high", file_name: file.name })}`;
  const headers = { "Content-Type": "application/octet-stream" };
  const { status, told } = await ask(path, { method: "POST", body: file, headers });
  return { fresh: status === 202, photo: told };
}

/** Hold an import, let it go on, or call it off: "pause", "resume", "cancel"; how it stands then. */
export async function command(batch, word) {
  const headers = { "Content-Type": "application/json" };
  const body = JSON.stringify({ by: "page" });
  return (await ask(`/v1/imports/${encodeURIComponent(batch)}/${word}`, { method: "POST", headers, body })).told;
}

/** Begin a session with a key. */
export async function signIn(key) {
  const headers = { "Content-Type": "application/json" };
  await ask(SESSION, { method: "POST", headers, body: JSON.stringify({ key }) });
}

export const session = () => get(SESSION);
export const signOut = () => ask(SESSION, { method: "DELETE" });

export const inbox = () => get("/v1/failures");
export const failed = (parameters) => get(`/v1/failures/items?${query(parameters)}`);
export const replays = () => get(`/v1/failures/replays?${query({ limit: 5 })}`);

const post = async (path, body) => {
  const headers = { "Content-Type": "application/json" };
  return (await ask(path, { method: "POST", headers, body: JSON.stringify({ by: "page", ...body }) })).told;
};

/** Try failures again, lay them aside, put them back; `filter` as the REST surface has it. */
export const replay = (filter) => post("/v1/failures/replay", { filter });
export const stopReplay = (id) => post(`/v1/failures/replays/${encodeURIComponent(id)}/stop`, {});
export const discard = (filter, reason) => post("/v1/failures/discard", { filter, reason });
export const restore = (filter) => post("/v1/failures/restore", { filter });

export const operations = () => get("/v1/operations");
export const workers = () => get("/v1/operations/workers");
export const tasks = (parameters) => get(`/v1/operations/tasks?${query(parameters)}`);

/** How series were; `names` of them. */
export const history = (parameters, names) =>
  get(`/v1/operations/history?${query(parameters)}&${new URLSearchParams(names.map((name) => ["series", name]))}`);

const target = (service, lane) => `/v1/operations/controls/${[service, lane].filter(Boolean).map(encodeURIComponent).join("/")}`;

/** Set something for a service, or one of its lanes; take all of it back. */
export const set = async (service, lane, changes) => {
  const headers = { "Content-Type": "application/json" };
  return (await ask(target(service, lane), { method: "PATCH", headers, body: JSON.stringify({ by: "page", ...changes }) })).told;
};
export const unset = (service, lane) => ask(`${target(service, lane)}?by=page`, { method: "DELETE" });
