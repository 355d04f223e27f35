// The panel of imports: where each stands, and how to hold it, let it go on, or call it off.

import * as client from "./client.js";
import { count, h, say } from "./dom.js";
import { aside, done, filled, OVER, progress, reasons, stateOf, TONES, whole } from "./import_words.js";
import { Report } from "./import_report.js";

const SHOWN = 3;
const REASONS = 2;
const KEPT_MS = 15 * 60 * 1000; // how long an import that ended stays on the page

export class Imports {
  #section = document.getElementById("imports");
  #batches = new Map();
  #report;

  /** `on` has openPhoto(id). */
  constructor(on) {
    this.#report = new Report(on);
  }

  get batches() {
    return [...this.#batches.values()];
  }

  /** Whether any import is under way: its rate and its time left change without news. */
  get moving() {
    return this.batches.some((batch) => !OVER.has(batch.state));
  }

  replace(batches) {
    this.#batches = new Map(batches.map((batch) => [batch.batch_id, batch]));
    this.#draw();
  }

  update(batch) {
    const before = this.#batches.get(batch.batch_id);
    this.#batches.set(batch.batch_id, batch);
    this.#draw();
    if (before && before.state !== batch.state && OVER.has(batch.state)) say(`Import of ${batch.title}: ${stateOf(batch)}`);
  }

  #draw() {
    const shown = this.batches
      .filter((batch) => !batch.completed_at || Date.now() - Date.parse(batch.completed_at) < KEPT_MS)
      .sort((a, b) => b.started_at.localeCompare(a.started_at))
      .slice(0, SHOWN);
    this.#section.hidden = shown.length === 0;
    const rows = new Map([...this.#section.children].map((row) => [row.dataset.batch, row]));
    const wanted = shown.map((batch) => {
      const row = rows.get(batch.batch_id) ?? this.#row(batch.batch_id);
      fillRow(row, batch);
      return row;
    });
    if (wanted.length !== this.#section.children.length || wanted.some((row, at) => row !== this.#section.children[at])) {
      this.#section.replaceChildren(...wanted);
    }
  }

  /** A row's elements stay while its texts change, so that nobody's click or focus is lost. */
  #row(id) {
    const row = h("article", { class: "import", "data-batch": id });
    const batch = () => this.#batches.get(id);
    const button = (name, words, onclick) => h("button", { class: "button quiet", type: "button", "data-act": name, onclick }, words);
    const ask = (asking) => {
      row.classList.toggle("asking", asking);
      fillRow(row, batch());
      row.querySelector(asking ? '[data-act="keep"]' : '[data-act="cancel"]').focus();
    };
    row.append(
      h("p", { class: "what" }, h("b", {}), h("span", { class: "state" }), h("span", { class: "progress" })),
      h("div", { class: "commands" },
        button("hold", "Pause", () => this.#command(row, batch().state === "paused" ? "resume" : "pause")),
        button("cancel", "Cancel", () => ask(true)),
        h("span", { class: "sure" }, "Call off what is not done?"),
        button("really", "Cancel import", () => { row.classList.remove("asking"); this.#command(row, "cancel"); }),
        button("keep", "Keep going", () => ask(false)),
        button("report", "Details", () => this.#report.open(batch()))),
      h("div", { class: "bar", role: "progressbar", "aria-valuemin": "0" }, TONES.map(([tone]) => h("i", { "data-tone": tone }))),
      h("p", { class: "sums" }), h("p", { class: "reasons" }), h("p", { class: "trouble", role: "alert" }));
    row.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !row.classList.contains("asking")) return;
      event.stopPropagation();
      ask(false);
    });
    return row;
  }

  async #command(row, command) {
    const trouble = row.querySelector(".trouble");
    const acts = row.querySelectorAll(".commands button");
    trouble.textContent = "";
    for (const act of acts) act.disabled = true;
    try {
      this.update(await client.command(row.dataset.batch, command));
    } catch (problem) {
      trouble.textContent = problem.message;
    }
    for (const act of acts) act.disabled = false;
  }
}

function fillRow(row, batch) {
  const asking = row.classList.contains("asking") && !OVER.has(batch.state);
  row.classList.toggle("asking", asking);
  row.classList.toggle("over", OVER.has(batch.state));
  row.dataset.state = batch.state;
  const put = (selector, text) => {
    const element = row.querySelector(selector);
    if (element.textContent !== text) element.textContent = text;
    element.hidden = !text;
  };
  put(".what b", batch.title);
  row.querySelector(".what b").title = batch.roots.join("\n");
  put(".state", [stateOf(batch), aside(batch)].filter(Boolean).join(" "));
  put(".progress", progress(batch));
  row.querySelector(".sums").replaceChildren(...sums(batch));
  row.querySelector(".reasons").replaceChildren(...why(batch));
  fillBar(row.querySelector(".bar"), batch);
  const show = (name, shown) => { row.querySelector(`[data-act="${name}"]`).hidden = !shown; };
  const moves = ["scanning", "paused", "running"].includes(batch.state);
  show("hold", !asking && (batch.state === "paused" || (batch.state === "scanning" && !batch.sealed)));
  show("cancel", !asking && moves);
  show("really", asking);
  show("keep", asking);
  show("report", !asking);
  row.querySelector(".sure").hidden = !asking;
  row.querySelector('[data-act="hold"]').textContent = batch.state === "paused" ? "Resume" : "Pause";
}

function fillBar(bar, batch) {
  const all = whole(batch);
  bar.setAttribute("aria-label", `Import of ${batch.title}`);
  bar.setAttribute("aria-valuemax", String(all));
  bar.setAttribute("aria-valuenow", String(filled(batch)));
  bar.setAttribute("aria-valuetext", [stateOf(batch), progress(batch)].filter(Boolean).join(", "));
  bar.classList.toggle("empty", OVER.has(batch.state) && done(batch) === 0);
  const fields = Object.fromEntries(TONES);
  for (const part of bar.children) {
    part.style.width = `${(100 * batch[fields[part.dataset.tone]]) / all}%`;
  }
}

function sums(batch) {
  const told = TONES.filter(([, field]) => batch[field]).map(([tone, field, words]) =>
    h("span", { "data-tone": tone }, h("b", {}, count(batch[field])), ` ${words}${tone === "duplicate" && batch[field] > 1 ? "s" : ""}`));
  const further = [["in_flight", "being analysed"], ["repaired", "repaired later"]];
  return [...told, ...further.filter(([field]) => batch[field]).map(([field, words]) => h("span", {}, h("b", {}, count(batch[field])), ` ${words}`))];
}

function why(batch) {
  const { shown, rest } = reasons(batch, REASONS);
  const told = shown.map((each) => h("span", { title: each.code }, h("b", {}, `${count(each.count)} ×`), ` ${each.text}`));
  return rest ? [...told, h("span", {}, `and ${count(rest)} more`)] : told;
}
