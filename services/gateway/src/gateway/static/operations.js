// The page of operations: what waits, who works on it, how it was, what is set, and setting it.

import * as client from "./client.js";
import { bytes, count, duration, h, say, when } from "./dom.js";
import { Plot } from "./plot.js";

const LIVE_MS = 2000;
const HIDDEN_MS = 15000;
const HISTORY_MS = 10000;
const POINTS = 360;
const TASKS = 20;

const at = (id) => document.getElementById(id);
const share = (value) => (value === null || value === undefined ? "–" : `${Math.round(value * 100)} %`);
const rate = (value) => (value >= 10 ? count(Math.round(value)) : value.toFixed(value && value < 1 ? 2 : 1).replace(/\.0+$/, ""));
const age = (seconds) => (seconds ? duration(seconds) : "–");
const many = (number, one, more = `${one}s`) => `${count(number)} ${number === 1 ? one : more}`;

const LANES = [["high", "--lamp"], ["default", "--review"], ["batch", "--auto"], ["learning", "--suggested"]];
const SERVICES = [["intake", "--ink-3"], ["detector", "--lamp"], ["ocr", "--review"], ["embedder", "--auto"], ["aggregator", "--suggested"], ["gateway", "--ink"]];
const STAGES = SERVICES.slice(0, 4);
const of = (names, series) => names.map(([name, colour]) => ({ name, colour, series: series(name) }));

const PLOTS = [
  { title: "Photos that wait", lines: of(LANES, (lane) => `lane.${lane}.records`), shown: count, least: 10 },
  { title: "Photos a second", lines: [{ name: "outcomes", colour: "--auto", series: "photos.per_s" }], shown: rate },
  { title: "Longest wait, lane high", lines: of(STAGES, (stage) => `stage.${stage}.high.oldest_s`), shown: age, least: 10 },
  { title: "Longest wait, lane batch", lines: of(STAGES, (stage) => `stage.${stage}.batch.oldest_s`), shown: age, least: 10 },
  { title: "Waiting for another attempt", lines: of(STAGES, (stage) => `service.${stage}.retries`), shown: count, least: 10 },
  { title: "Dead letters", lines: of(SERVICES, (service) => `service.${service}.dead_letters`), shown: count, least: 10 },
  { title: "CPU in use, where workers run", lines: of(SERVICES, (service) => `service.${service}.cpu`), shown: share },
  { title: "Memory of workers", lines: of(SERVICES, (service) => `service.${service}.memory_bytes`), shown: (value) => (value ? bytes(value) : "0"), least: 1e8 },
].map((each) => new Plot(each));
const SERIES = [...new Set(PLOTS.flatMap((plot) => plot.lines.map((line) => line.series)))];
const SPANS = [["1 h", 1], ["6 h", 6], ["24 h", 24]];

let hours = 24;
let mayChange = false;
let looked = null;
let timer = null;

async function look() {
  clearTimeout(timer);
  try {
    const [now, workers] = await Promise.all([client.operations(), client.workers()]);
    draw(now, workers.items);
    linked(true);
  } catch (problem) {
    linked(false, problem);
  }
  timer = setTimeout(look, document.hidden ? HIDDEN_MS : LIVE_MS);
}

function linked(live, problem = null) {
  at("offline").hidden = live;
  if (!live) at("offline").textContent = `${problem.message} Trying again; what is shown is old.`;
  at("link-state").dataset.state = live ? "live" : "lost";
  at("link-state").querySelector(".words").textContent = live ? "Live" : "Not live";
}

async function lookBack() {
  const until = new Date();
  const since = new Date(until - hours * 3600e3);
  const history = await client.history({ since: since.toISOString(), until: until.toISOString(), points: POINTS }, SERIES).catch(() => null);
  if (history) PLOTS.forEach((plot) => plot.update(history));
  clearTimeout(lookBack.timer);
  lookBack.timer = setTimeout(lookBack, document.hidden ? 6 * HISTORY_MS : HISTORY_MS);
}

/** Rebuild a part only when what it shows has changed: no focus and no selection is lost. */
function put(parent, said, made) {
  const text = JSON.stringify(said);
  if (parent.dataset.said === text) return;
  const focused = parent.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  parent.dataset.said = text;
  parent.replaceChildren(...made());
  if (focused) [...parent.querySelectorAll("[data-key]")].find((each) => each.dataset.key === focused)?.focus();
}

function draw(now, workers) {
  looked = now;
  const services = now.services;
  const sum = (what) => services.reduce((all, each) => all + (what(each) || 0), 0);
  const waiting = now.lanes.reduce((all, lane) => all + lane.records, 0);
  const told = [many(sum((each) => each.workers), "worker"), `${rate(now.per_s)} photos a second`, waiting ? `${count(waiting)} wait` : "nothing waits"];
  const missing = sum((each) => each.missing), letters = sum((each) => each.dead_letters);
  if (missing) told.push(`${many(missing, "worker")} missing`);
  if (letters) told.push(many(letters, "dead letter"));
  at("sum").textContent = told.join(" · ");
  drawLanes(now);
  drawStages(now);
  drawControls(now.controls);
  drawWorkers(workers);
}

const STATES = { open: "takes photos in", warned: "takes photos in; more wait than usual", closed: "refuses new photos", unknown: "not measured" };

function drawLanes(now) {
  const fresh = now.measured_at && Date.parse(now.at) - Date.parse(now.measured_at) < 30e3;
  const shares = new Map(now.admission.map((each) => [each.lane, each]));
  put(at("lanes"), [now.lanes.map(({ measured_at: _, stages: __, ...rest }) => rest), now.admission, fresh], () => now.lanes.length ? now.lanes.map((lane) => {
    const state = fresh ? lane.state : "unknown";
    const admitted = shares.get(lane.lane);
    const why = admitted?.pinned != null ? `set by ${admitted.pinned_by}: ${admitted.pinned_reason}` : admitted?.cause;
    return h("article", { class: "lane", "data-lane": lane.lane, "data-state": state },
      h("header", {}, h("h3", {}, lane.lane), h("span", { class: "number" }, count(lane.records))),
      h("p", { class: "state" }, STATES[state]),
      lane.cause && h("p", {}, lane.cause),
      admitted && admitted.share !== 1 && h("p", { class: "share" }, `Lets in ${admitted.share === 0.5 ? "half" : `${admitted.share} times`} of what the limits say: ${why}.`));
  }) : [h("p", { class: "muted" }, "Nothing was measured yet: the control door does that every other second.")]);
}

function drawStages(now) {
  const lanes = LANES.map(([lane]) => lane);
  put(at("stages"), [now.services, now.controls, mayChange], () => [
    h("thead", {}, h("tr", {}, h("th", {}, "Service"), lanes.map((lane) => h("th", { class: "n" }, lane)),
      h("th", { class: "n" }, "Retries"), h("th", { class: "n" }, "Dead letters"), h("th", { class: "n" }, "CPU"), h("th", { class: "n" }, "Memory"), mayChange && h("th", {}, h("span", { class: "unseen" }, "Change")))),
    h("tbody", {}, now.services.map((service) => {
      const by = new Map(service.lanes.map((lane) => [lane.lane, lane]));
      const held = now.controls.some((each) => each.service === service.name && each.paused);
      return h("tr", { "data-service": service.name },
        h("th", {}, service.name, h("small", {}, service.workers ? many(service.workers, "worker") : "not running", service.missing ? h("span", { class: "bad" }, `, ${service.missing} missing`) : null)),
        lanes.map((lane) => cell(by.get(lane))),
        h("td", { class: "n" }, count(Object.values(service.retries).reduce((all, each) => all + each, 0))),
        h("td", { class: service.dead_letters ? "n bad" : "n" }, count(service.dead_letters)),
        h("td", { class: "n" }, share(service.cpu)),
        h("td", { class: "n" }, service.memory_bytes === null ? "–" : bytes(service.memory_bytes), service.memory === null ? null : h("small", {}, `${share(service.memory)} of the machine’s`)),
        mayChange && h("td", {}, service.name === "aggregator" ? null : h("button", { class: "button", type: "button", "data-key": `set ${service.name}`, onclick: () => change(service) }, held ? "Paused …" : "Set …")));
    })),
  ]);
}

function cell(lane) {
  if (!lane) return h("td", { class: "n muted" }, "");
  const told = [];
  if (lane.paused) told.push("paused");
  if (lane.per_s) told.push(`${rate(lane.per_s)}/s`);
  if (lane.oldest_s) told.push(`oldest ${duration(lane.oldest_s)}`);
  if (lane.rate !== null) told.push(`at most ${rate(lane.rate)}/s`);
  if (lane.concurrency !== null) told.push(`${lane.concurrency} at a time`);
  return h("td", { class: "n" }, lane.waiting === null ? "–" : count(lane.waiting), h("small", {}, told.join(", ")));
}

function drawControls(controls) {
  at("controls").hidden = !controls.length;
  put(at("set"), [controls, mayChange], () => controls.map((each) => {
    const told = [];
    if (each.paused) told.push(each.paused_until ? `paused until ${when(each.paused_until)}` : "paused until somebody resumes it");
    if (each.rate) told.push(`at most ${each.rate}`);
    if (each.concurrency) told.push(`${each.concurrency} at a time in each worker`);
    return h("li", { "data-target": each.target },
      h("p", {}, h("b", {}, each.target), ` ${told.join(", ")}`),
      mayChange && h("button", { class: "button", type: "button", "data-key": `back ${each.target}`, onclick: (event) => takeBack(each, event.target) }, "Take back"),
      h("p", { class: "aside" }, `${each.owner}, ${when(each.changed_at)}${each.reason ? `: ${each.reason}` : ""}`));
  }));
}

async function takeBack(control, button) {
  button.disabled = true;
  try {
    await client.unset(control.service, control.lane);
    say(`${control.target} goes on as its settings say.`);
    await look();
  } catch (problem) {
    button.disabled = false;
    button.textContent = problem.message;
  }
}

function drawWorkers(workers) {
  const gone = workers.filter((worker) => worker.state === "gone").length;
  workers = workers.filter((worker) => worker.state !== "gone");
  at("gone").textContent = gone ? `${many(gone, "worker")} ended by themselves in the last hour.` : "";
  const told = workers.map(({ seen_at: _, reported_at: __, silent_s, ...rest }) => [rest, Math.round(silent_s)]);
  put(at("workers"), told, () => [
    h("thead", {}, h("tr", {}, h("th", {}, "Worker"), h("th", {}, "State"), h("th", {}, "Partitions"), h("th", {}, "Has in hand"), h("th", { class: "n" }, "Done"), h("th", { class: "n" }, "Cores"), h("th", { class: "n" }, "Memory"), h("th", { class: "n" }, "Heard"))),
    h("tbody", {}, workers.length ? workers.map((worker) => {
      const state = worker.missing ? "missing" : worker.state;
      const sum = (what) => worker.lanes.reduce((all, lane) => all + lane[what], 0);
      return h("tr", { "data-worker": worker.worker },
        h("th", {}, worker.service, h("small", {}, `${worker.host}, process ${worker.pid}, ${worker.version}`)),
        h("td", { class: worker.missing ? "bad" : "" }, state, h("small", {}, `since ${when(worker.started_at)}`)),
        h("td", {}, worker.lanes.map((lane) => h("small", {}, `${lane.lane} ${lane.partitions.length}${lane.paused ? ", paused" : ""}`))),
        h("td", { class: "text" }, worker.work.length ? worker.work.slice(0, 4).map((task) => h("small", {}, `${task.lane}: ${task.key.slice(0, 13)} for ${age((Date.parse(worker.reported_at) - Date.parse(task.since)) / 1000)}`)) : h("span", { class: "muted" }, "nothing")),
        h("td", { class: "n" }, count(sum("done")), sum("failed") ? h("small", { class: "bad" }, `${count(sum("failed"))} given up`) : null),
        h("td", { class: "n" }, worker.cpu_cores.toFixed(2)),
        h("td", { class: "n" }, bytes(worker.memory_bytes)),
        h("td", { class: worker.missing ? "n bad" : "n" }, `${duration(Math.round(worker.silent_s))} ago`));
    }) : h("tr", { class: "apart" }, h("td", { colspan: "8" }, "No worker has said anything. Are they running, with DARKROOM_OPERATIONS on?"))),
  ]);
}

// -- setting ------------------------------------------------------------------------------------

const PAUSES = [["No", ""], ["For 10 minutes", "600"], ["For an hour", "3600"], ["For a day", "86400"], ["Until it is taken back", "0"]];

function change(service) {
  const dialog = at("ask");
  const lanes = service.lanes.map((lane) => lane.lane);
  const field = (id, label, input) => [h("label", { for: id }, label), input];
  const lane = h("select", { id: "set-lane" }, h("option", { value: "" }, "all"), lanes.map((each) => h("option", { value: each }, each)));
  const pause = h("select", { id: "set-pause" }, PAUSES.map(([words, value]) => h("option", { value }, words)));
  const limit = h("input", { id: "set-rate", type: "text", maxlength: "20", autocomplete: "off", placeholder: "any, or 20/s, 100/m" });
  const most = h("input", { id: "set-concurrency", type: "number", min: "1", max: "10000", placeholder: "any" });
  const reason = h("input", { id: "set-reason", type: "text", maxlength: "1000", autocomplete: "off", placeholder: "For the next person" });
  const trouble = h("p", { class: "trouble", role: "alert" });
  const held = () => looked.controls.find((each) => each.service === service.name && (each.lane ?? "") === lane.value);
  const show = () => {
    const now = held();
    pause.value = now?.paused ? "0" : "";
    limit.value = now?.rate ?? "";
    most.value = now?.concurrency ?? "";
    reason.value = now?.reason ?? "";
    need();
  };
  const need = () => { reason.required = pause.value !== ""; }; // the next person will ask
  lane.addEventListener("change", show);
  pause.addEventListener("change", need);
  const form = h("form", { method: "dialog" }, h("h2", { id: "ask-what" }, `Set for ${service.name}`),
    h("p", {}, "It holds for all its workers at once. Nothing is lost: what is paused waits."),
    field("set-lane", "Lane", lane), field("set-pause", "Pause", pause), field("set-rate", "Records that begin", limit),
    field("set-concurrency", "Records at a time", most), field("set-reason", "Why", reason), trouble,
    h("div", { class: "acts" },
      h("button", { class: "button quiet", type: "button", onclick: () => dialog.close() }, "Cancel"),
      h("button", { class: "button primary", type: "submit" }, "Set")));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const now = held();
    const wanted = { paused: pause.value !== "", rate: limit.value.trim() || null, concurrency: most.value ? Number(most.value) : null };
    if (reason.value.trim()) wanted.reason = reason.value.trim();
    if (Number(pause.value)) wanted.pause_s = Number(pause.value);
    else if (wanted.paused && !now?.paused) wanted.paused_until = null;
    try {
      await client.set(service.name, lane.value || null, wanted);
    } catch (problem) {
      trouble.textContent = problem.message;
      return;
    }
    dialog.close();
    say(`Set for ${service.name}.`);
    await look();
  });
  dialog.replaceChildren(form);
  show();
  dialog.showModal();
}

// -- tasks --------------------------------------------------------------------------------------

const CHOICES = {
  stage: ["All stages", "intake", "detector", "ocr", "embedder"],
  lane: ["All lanes", "high", "default", "batch", "learning"],
  state: ["All states", "waiting", "done", "failed", "cancelled"],
};
const chosen = {};
let next = null;

function drawFilter() {
  at("filter").append(...Object.entries(CHOICES).map(([name, [all, ...values]]) =>
    h("select", { name, "aria-label": all, onchange: (event) => {
      chosen[name] = event.target.value || null;
      lookAtTasks();
    } }, h("option", { value: "" }, all), values.map((value) => h("option", { value }, value)))));
  at("more").addEventListener("click", () => lookAtTasks(next));
}

async function lookAtTasks(cursor = null) {
  const body = cursor ? at("tasks").querySelector("tbody") : h("tbody", {});
  let page;
  try {
    page = await client.tasks({ ...chosen, limit: TASKS, cursor });
  } catch (problem) {
    body.replaceChildren(h("tr", { class: "apart" }, h("td", { colspan: "6" }, problem.message)));
    page = { items: [], next: null };
  }
  next = page.next;
  at("more").hidden = !next;
  body.append(...page.items.map(task));
  if (!body.children.length) body.append(h("tr", { class: "apart" }, h("td", { colspan: "6" }, "There is none like that.")));
  if (!cursor) {
    at("tasks").replaceChildren(h("thead", {}, h("tr", {}, ["Photo", "Stage", "Lane", "State", "When"].map((name) => h("th", {}, name)), h("th", { class: "n" }, "Took"))), body);
  }
}

function task(one) {
  const why = one.code ? h("small", { class: "bad", title: one.message }, one.code) : null;
  return h("tr", { "data-task": `${one.analysis_id} ${one.stage}` },
    h("th", {}, h("a", { href: `/v1/photos/${one.photo_id}/rendition`, target: "_blank", rel: "noopener" }, one.file_name ?? one.photo_id.slice(0, 13))),
    h("td", {}, one.stage, h("small", {}, one.model_version ?? "")),
    h("td", {}, one.lane),
    h("td", { class: one.state === "failed" ? "bad" : "" }, one.state, why),
    h("td", {}, when(one.ended_at ?? one.submitted_at)),
    h("td", { class: "n" }, one.ms === null ? "–" : `${rate(one.ms)} ms`));
}

// -- beginning ----------------------------------------------------------------------------------

at("spans").append(...SPANS.map(([words, value]) => h("button", { type: "button", "aria-pressed": String(value === hours), onclick: (event) => {
  hours = value;
  for (const each of at("spans").children) each.setAttribute("aria-pressed", String(each === event.target));
  lookBack();
} }, words)));
at("plots").append(...PLOTS.map((plot) => plot.element));
drawFilter();
document.addEventListener("visibilitychange", () => document.hidden || look());
mayChange = (await client.session().catch(() => null))?.role === "admin";
look();
lookBack();
lookAtTasks();
