// Imports: where they stand, and which of their files were duplicates or refused.

import * as client from "./client.js";
import { count, duration, h, icon, ICONS, sentence } from "./dom.js";

const SHOWN = 3;
const KEPT_MS = 15 * 60 * 1000; // how long an import that ended stays on the page
const BAR = ["auto_labeled", "suggested", "review", "rejected", "duplicate"];

export class Imports {
  #section = document.getElementById("imports");
  #dialog = document.getElementById("report");
  #batches = new Map();
  #on;

  /** `on` has openPhoto(id). */
  constructor(on) {
    this.#on = on;
    this.#dialog.addEventListener("close", () => this.#dialog.replaceChildren());
    this.#dialog.addEventListener("click", (event) => {
      if (event.target === this.#dialog) this.#dialog.close();
    });
  }

  get batches() {
    return [...this.#batches.values()];
  }

  replace(batches) {
    this.#batches = new Map(batches.map((batch) => [batch.batch_id, batch]));
    this.#draw();
  }

  update(batch) {
    this.#batches.set(batch.batch_id, batch);
    this.#draw();
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

  #row(id) {
    return h("article", { class: "import", "data-batch": id },
      h("p", { class: "what" }, h("b", {}), h("span", {})),
      h("p", { class: "sums" }),
      h("button", { class: "button quiet", type: "button", onclick: () => this.report(this.#batches.get(id)) }, "Details"),
      h("div", { class: "bar", role: "progressbar", "aria-valuemin": "0" }, BAR.map((tone) => h("i", { "data-tone": tone }))));
  }

  async report(batch) {
    this.#dialog.replaceChildren(
      h("header", {}, h("h2", { id: "report-name" }, `Import of ${nameOf(batch)}`),
        h("button", { class: "button quiet close", type: "button", "aria-label": "Close", onclick: () => this.#dialog.close() }, icon(ICONS.close))),
      h("p", {}, `${count(batch.found)} files found: ${count(batch.accepted)} analysed, ${count(batch.duplicates)} ${batch.duplicates === 1 ? "duplicate" : "duplicates"}, ${count(batch.rejected)} rejected${batch.pending ? `, ${count(batch.pending)} on their way` : ""}.`));
    this.#dialog.showModal();
    for (const [status, title] of [["rejected", "Rejected"], ["duplicate", "Duplicates"]]) {
      const { items, next } = await client.files(batch.batch_id, { status, limit: 200 });
      if (!items.length) continue;
      this.#dialog.append(h("section", {}, h("h3", {}, title), h("ul", { class: "files" }, items.map((item) => this.#file(item))),
        next && h("p", { class: "muted" }, "Only the first 200 are listed here.")));
    }
  }

  #file(item) {
    const [folder, name] = split(item.path);
    const open = item.duplicate_of && h("button", { type: "button", onclick: () => { this.#dialog.close(); this.#on.openPhoto(item.duplicate_of); } }, split(item.duplicate_of_path ?? "a known photo")[1]);
    return h("li", { "data-tone": item.status },
      h("b", {}, h("span", { class: "path" }, folder), name),
      h("span", { class: "why" }, ...(item.error ? [sentence(item.error.message)] : ["same bytes as ", open])),
      item.error && h("span", { class: "aside" }, h("code", {}, item.error.code)));
  }
}

function fillRow(row, batch) {
  const ended = batch.accepted + batch.rejected + batch.duplicates;
  const all = batch.expected ?? batch.found;
  row.classList.toggle("ended", batch.state === "completed");
  row.querySelector(".what b").textContent = nameOf(batch);
  row.querySelector(".what b").title = batch.roots.join("\n");
  row.querySelector(".what span").textContent = progress(batch, ended);
  row.querySelector(".sums").replaceChildren(...sums(batch));
  const bar = row.querySelector(".bar");
  bar.setAttribute("aria-label", `Import of ${nameOf(batch)}`);
  bar.setAttribute("aria-valuemax", String(all));
  bar.setAttribute("aria-valuenow", String(ended));
  const amounts = { ...batch, duplicate: batch.duplicates };
  for (const part of bar.children) {
    part.style.width = `${all ? (100 * amounts[part.dataset.tone]) / all : 0}%`;
  }
}

function progress(batch, ended) {
  if (batch.state === "completed") return `${count(batch.found)} files in ${duration(batch.elapsed_s)}`;
  if (batch.expected === null) return `${count(ended)} so far, still counting the files`;
  const left = ended > 4 ? `, about ${duration(((batch.expected - ended) * batch.elapsed_s) / ended)} left` : "";
  return `${count(ended)} of ${count(batch.expected)}${left}`;
}

const SUMS = [
  ["auto_labeled", "auto_labeled", "auto-labelled"],
  ["suggested", "suggested", "suggested"],
  ["review", "review", "to review"],
  ["rejected", "rejected", "rejected"],
  ["duplicate", "duplicates", "duplicate"],
];

function sums(batch) {
  return SUMS.filter(([, field]) => batch[field]).map(([tone, field, words]) =>
    h("span", { "data-tone": tone }, h("b", {}, count(batch[field])), ` ${words}${tone === "duplicate" && batch[field] > 1 ? "s" : ""}`));
}

function split(path) {
  const at = path.lastIndexOf("/") + 1;
  return [path.slice(0, at), path.slice(at)];
}

function nameOf(batch) {
  const names = batch.roots.map((root) => split(root.replace(/\/$/, ""))[1] || root);
  return names.length > 2 ? `${names[0]} and ${names.length - 1} more` : names.join(" and ");
}
