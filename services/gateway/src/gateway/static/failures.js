// The page of what failed: groups by reason, what helps, trying again, laying aside.

import * as client from "./client.js";
import { count, h, say, sentence, when } from "./dom.js";

const PAGE = 20;
const BUSY_MS = 1500;
const IDLE_MS = 10000;
const KEPT_MS = 10 * 60 * 1000; // how long a replay that ended stays on the page

const STAGES = { import: "Import", intake: "Rejected", detector: "Detector", ocr: "Reading text", embedder: "Likeness" };
const STEPS = {
  submitted: "Handed in", prepared: "Taken in", failed: "Failed", decided: "Decided", replay_asked: "Another try asked for",
  replayed: "Tried again", replay_ended: "That ended", discarded: "Discarded", restored: "Put back",
};

const at = (id) => document.getElementById(id);
const failures = (number) => `${count(number)} ${number === 1 ? "failure" : "failures"}`;

const rows = new Map(); // "stage code" → Group
let timer = null;

async function look() {
  clearTimeout(timer);
  let busy = false;
  try {
    const [inbox, replays] = await Promise.all([client.inbox(), client.replays()]);
    busy = replays.items.some((each) => each.state === "running");
    draw(inbox, replays.items);
    at("offline").hidden = true;
  } catch (problem) {
    at("offline").textContent = `${problem.message} Trying again.`;
    at("offline").hidden = false;
  }
  timer = setTimeout(look, document.hidden ? IDLE_MS : busy ? BUSY_MS : IDLE_MS);
}

function draw(inbox, replays) {
  drawReplays(replays);
  const told = [inbox.count ? failures(inbox.count) : "Nothing waits for you"];
  if (inbox.replaying) told.push(`${count(inbox.replaying)} being tried again`);
  if (inbox.discarded) told.push(`${count(inbox.discarded)} discarded`);
  at("sum").textContent = told.join(" · ");
  const wanted = inbox.groups.map((group) => {
    const key = `${group.stage} ${group.code}`;
    const row = rows.get(key) ?? new Group(group);
    rows.set(key, row);
    row.update(group);
    return row.element;
  });
  for (const [key, row] of rows) if (!wanted.includes(row.element)) rows.delete(key);
  if (!wanted.length) wanted.push(h("div", { class: "good" }, h("h2", {}, "No photo failed"), h("p", {}, "What fails is kept here until it is whole, or you lay it aside.")));
  put(at("groups"), wanted);
  drawLetters(inbox.letters);
  discarded.update(inbox.discarded);
}

/** A sentence with `commands` in it. */
const marked = (text) => text.split("`").map((part, place) => (place % 2 ? h("code", {}, part) : part));

/** Put elements in place without touching those that stay, so that no focus is lost. */
function put(parent, wanted) {
  if (wanted.length === parent.children.length && wanted.every((each, place) => each === parent.children[place])) return;
  parent.replaceChildren(...wanted);
}

function button(words, act, kind = "") {
  const trouble = h("span", { class: "trouble", role: "alert" });
  const element = h("button", {
    class: `button ${kind}`, type: "button",
    onclick: async () => {
      element.disabled = true;
      trouble.textContent = "";
      try {
        await act();
      } catch (problem) {
        trouble.textContent = problem.message;
      }
      element.disabled = false;
    },
  }, words);
  return [element, trouble];
}

async function replay(filter) {
  const begun = await client.replay(filter);
  say(`${failures(begun.total)} ${begun.total === 1 ? "is" : "are"} being tried again.`);
  await look();
}

async function discard(filter, number, named) {
  const reason = await asked(number === 1 ? `Discard ${named}?` : `Discard ${failures(number)}?`,
    number === 1 ? "It stays as it is and leaves this list. You can put it back." : "They stay as they are and leave this list. You can put them back.", "Why?");
  if (reason === null) return;
  const { count: changed } = await client.discard(filter, reason);
  say(`${failures(changed)} discarded.`);
  await look();
}

/** A line of text that a person gives; null if they think better of it. */
function asked(what, more, label) {
  const dialog = at("ask");
  return new Promise((answer) => {
    const input = h("input", { id: "reason", type: "text", maxlength: "1000", required: true, autocomplete: "off", "aria-label": label, placeholder: label });
    const form = h("form", { method: "dialog" }, h("h2", { id: "ask-what" }, what), h("p", {}, more), input,
      h("div", { class: "acts" },
        h("button", { class: "button quiet", type: "button", onclick: () => dialog.close() }, "Cancel"),
        h("button", { class: "button primary", type: "submit" }, "Discard")));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      dialog.close(input.value.trim() || "");
    });
    dialog.returnValue = "";
    dialog.addEventListener("close", () => answer(dialog.returnValue || null), { once: true });
    dialog.replaceChildren(form);
    dialog.showModal();
    input.focus();
  });
}

function thumb(photo) {
  const name = photo.file_name ?? "a photo";
  if (!photo.thumbnail) return h("span", { class: "thumb", title: name }, h("span", {}, name));
  const image = h("img", { src: photo.thumbnail, alt: name, loading: "lazy" });
  return h("a", { class: "thumb", href: photo.thumbnail.replace("/thumbnail", "/rendition"), target: "_blank", rel: "noopener", title: name }, image);
}

class Group {
  #shown = { strip: "" };
  #list;

  constructor(group) {
    this.filter = { stage: group.stage, code: group.code };
    this.group = group;
    this.#list = new List({ ...this.filter, state: "inbox" }, (item) => [
      ...(item.state === "replaying" ? [h("span", { class: "told" }, "being tried again")] : [
        ...(item.photo_id ? button("Try again", () => replay({ failures: [item.failure_id] }).then(() => this.#list.reload())) : []),
        ...button("Discard", () => discard({ failures: [item.failure_id] }, 1, item.file_name ?? "this photo").then(() => this.#list.reload()), "quiet"),
      ]),
    ]);
    const [again, trouble] = button("Try all again", () => replay(this.filter), "primary");
    const [aside, wrong] = button("Discard all", () => discard(this.filter, this.group.count - this.group.replaying, "it"));
    this.again = again;
    this.aside = aside;
    this.show = h("button", { class: "button quiet", type: "button", "aria-expanded": "false", onclick: () => this.#toggle() }, "Show each");
    this.element = h("article", { class: "group", "data-group": `${group.stage} ${group.code}` },
      h("header", {}, h("h2", {}), h("span", { class: "number" }), h("p", { class: "about" })),
      h("p", { class: "cure" }, h("b", {}, "What helps"), h("span", {})),
      h("div", { class: "strip" }),
      h("div", { class: "acts" }, again, aside, this.show, h("span", { class: "told" }), trouble, wrong),
      this.#list.element);
  }

  update(group) {
    const changed = group.count !== this.group.count || group.replaying !== this.group.replaying || group.last_at !== this.group.last_at;
    this.group = group;
    const set = (selector, text) => {
      const element = this.element.querySelector(selector);
      if (element.textContent !== text) element.textContent = text;
    };
    set("h2", sentence(group.reason));
    set(".number", count(group.count));
    const span = when(group.first_at) === when(group.last_at) ? when(group.last_at) : `${when(group.first_at)} to ${when(group.last_at)}`;
    set(".about", `${STAGES[group.stage]} · ${group.code} · ${span}`);
    if (this.#shown.cure !== group.cure) this.element.querySelector(".cure span").replaceChildren(...marked(group.cure));
    this.#shown.cure = group.cure;
    set(".acts > .told", group.replaying ? `${count(group.replaying)} being tried again` : "");
    this.again.textContent = group.count === 1 ? "Try again" : "Try all again";
    this.aside.textContent = group.count === 1 ? "Discard" : "Discard all";
    this.aside.hidden = group.replaying >= group.count;
    this.again.hidden = this.aside.hidden || !group.replayable;
    const strip = JSON.stringify(group.examples);
    if (strip !== this.#shown.strip) {
      this.#shown.strip = strip;
      const rest = group.count - group.examples.length;
      this.element.querySelector(".strip").replaceChildren(...group.examples.map(thumb), ...(rest > 0 ? [h("span", { class: "thumb" }, `and ${count(rest)} more`)] : []));
    }
    if (changed && this.#list.open) this.#list.reload();
  }

  #toggle() {
    const open = !this.#list.open;
    this.show.textContent = open ? "Hide each" : "Show each";
    this.show.setAttribute("aria-expanded", String(open));
    if (open) this.#list.reload();
    else this.#list.close();
  }
}

/** Failures one by one, a page at a time. `acts` gives the buttons of one. */
class List {
  open = false;
  #cursor = null;
  #parameters;
  #acts;

  constructor(parameters, acts) {
    this.#parameters = parameters;
    this.#acts = acts;
    this.rows = h("ul", { class: "items" });
    const [more, trouble] = button("Show more", () => this.#more());
    this.more = more;
    this.element = h("div", { hidden: true }, this.rows, h("p", { class: "more" }, more, trouble));
  }

  async reload() {
    this.open = true;
    this.element.hidden = false;
    const open = new Set([...this.rows.querySelectorAll("details[open]")].map((each) => each.dataset.failure));
    const page = await client.failed({ ...this.#parameters, limit: Math.min(100, Math.max(PAGE, this.rows.children.length)) });
    this.rows.replaceChildren();
    this.#add(page, open);
  }

  close() {
    this.open = false;
    this.element.hidden = true;
  }

  async #more() {
    this.#add(await client.failed({ ...this.#parameters, limit: PAGE, cursor: this.#cursor }), new Set());
  }

  #add(page, open) {
    this.rows.append(...page.items.map((item) => this.#row(item, open.has(item.failure_id))));
    this.#cursor = page.next;
    this.more.hidden = page.next === null;
  }

  #row(item, open) {
    const steps = h("ol", { class: "steps" }, item.timeline.map((step) =>
      h("li", { "data-what": step.what }, h("time", { datetime: step.at }, when(step.at)),
        h("span", {}, [STEPS[step.what], step.by && `by ${step.by}`].filter(Boolean).join(" "), step.detail && `: ${step.detail}`))));
    return h("li", {}, thumb(item),
      h("div", {}, h("b", {}, item.file_name ?? item.photo_id),
        h("p", { class: item.discard ? "aside" : "why" }, item.discard ? `Discarded by ${item.discard.by}: ${item.discard.reason}` : sentence(item.reason)),
        h("details", { "data-failure": item.failure_id, open }, h("summary", {}, item.attempts ? `What happened, ${item.attempts} ${item.attempts === 1 ? "attempt" : "attempts"}` : "What happened"), steps)),
      h("div", { class: "acts" }, this.#acts(item)));
  }
}

/** What was laid aside, shown on demand. */
const discarded = {
  list: null,
  update(number) {
    const section = at("discarded");
    section.hidden = !number;
    if (!this.list) {
      this.list = new List({ state: "discarded" }, (item) => button("Put back", async () => {
        await client.restore({ failures: [item.failure_id] });
        await look();
      }));
      this.show = h("button", { class: "button quiet", type: "button", "aria-expanded": "false", onclick: () => {
        const open = !this.list.open;
        this.show.setAttribute("aria-expanded", String(open));
        if (open) this.list.reload();
        else this.list.close();
      } });
      section.append(this.show, this.list.element);
    }
    this.show.textContent = `${count(number)} discarded`;
    if (number !== this.number && this.list.open) this.list.reload();
    this.number = number;
  },
};

function drawReplays(replays) {
  const recent = replays.filter((each) => each.state === "running" || Date.now() - Date.parse(each.ended_at) < KEPT_MS).slice(0, 3);
  const section = at("replays");
  section.hidden = recent.length === 0;
  const known = new Map([...section.children].map((row) => [row.dataset.replay, row]));
  put(section, recent.map((each) => {
    const row = known.get(each.replay_id) ?? replayRow(each.replay_id);
    fillReplay(row, each);
    return row;
  }));
}

function replayRow(id) {
  const [stop, trouble] = button("Stop", async () => { await client.stopReplay(id); await look(); });
  return h("article", { class: "replay", "data-replay": id }, h("p", {}), h("div", {}, stop, trouble),
    h("div", { class: "bar", role: "progressbar", "aria-valuemin": "0", "aria-label": "Trying again" }, h("i", { class: "changed" }), h("i", { class: "again" }), h("i", { class: "other" })),
    h("p", { class: "sums" }));
}

function fillReplay(row, each) {
  const left = each.waiting + each.under_way;
  const done = each.total - left;
  row.dataset.state = each.state;
  const whose = ["local", "page"].includes(each.asked_by) ? "" : `, asked for by ${each.asked_by}`;
  row.querySelector("p").textContent = each.state === "running" ? `Trying ${failures(each.total)} again: ${count(done)} done, ${count(left)} left${whose}`
    : each.state === "stopped" ? `Stopped after ${count(done - each.stopped)} of ${failures(each.total)}${whose}` : `Tried ${failures(each.total)} again${whose}`;
  row.querySelector("button").hidden = !each.waiting;
  const bar = row.querySelector(".bar");
  bar.setAttribute("aria-valuemax", String(Math.max(1, each.total)));
  bar.setAttribute("aria-valuenow", String(done));
  const widths = { changed: each.changed, again: each.failed_again, other: done - each.changed - each.failed_again };
  for (const part of bar.children) part.style.width = `${(100 * widths[part.className]) / Math.max(1, each.total)}%`;
  const told = [
    [each.changed, "whole now"], [each.failed_again, "failed again"], [each.unanswered, "without an answer"], [each.impossible, "whose bytes are gone"],
    [each.settled, "whole already"], [each.stopped, "not begun"], [each.beyond, "more fit: try again for them"],
  ];
  row.querySelector(".sums").textContent = told.filter(([number]) => number).map(([number, words]) => `${count(number)} ${words}`).join(" · ") || (each.total ? "" : "Nothing was left to try.");
}

function drawLetters(letters) {
  const section = at("letters");
  section.hidden = letters.length === 0;
  const text = JSON.stringify(letters);
  if (section.dataset.shown === text) return;
  section.dataset.shown = text;
  section.replaceChildren(h("h2", {}, "Records that belong to no photo"), ...letters.map((each) =>
    h("article", { class: "group" },
      h("header", {}, h("h2", {}, sentence(each.reason)), h("span", { class: "number" }, count(each.count)), h("p", { class: "about" }, `${each.service} · ${each.code} · last ${when(each.last_at)}`)),
      h("p", { class: "cure" }, h("b", {}, "What helps"), h("span", {}, marked(each.cure))),
      h("p", { class: "about terminal" }, "In a terminal: ", h("code", {}, `./${each.command}`)))));
}

document.addEventListener("visibilitychange", () => document.hidden || look());
look();
