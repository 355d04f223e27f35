// The page: what is shown (all, one outcome, a search, more like one photo), kept true by live news.

import { nameOf } from "./card.js";
import * as client from "./client.js";
import { strong } from "./cutoff.js";
import { Detail } from "./detail.js";
import { count, h, say, throttled, toneOf, TONES } from "./dom.js";
import { Imports } from "./imports.js";
import { connect } from "./live.js";
import { noneHere, noPhotos } from "./nothing.js";
import { Notices } from "./notices.js";
import * as rejected from "./rejected.js";
import { belongs, Sheet } from "./sheet.js";
import { Uploads } from "./uploads.js";

const PAGE = 60;
const FILTERS = ["all", "auto_labeled", "suggested", "review", "rejected"];
const STATUS = { all: {}, pending: { status: "pending" }, cancelled: { status: "cancelled" } };
const LOOK_MS = 10000; // how often moving imports are asked for, news or not: time goes on

const at = (id) => document.getElementById(id);
const query = at("query");

/** What is looked at: {filter} or {text} or {like: photo}. */
let view = { filter: "all" };
let cursor = null;
let weaker = null; // hits behind the gap
let counts = null;
let loading = new AbortController();

const sheet = new Sheet({ open, like: (photo) => go({ like: photo }), dropped: dropTail });
const detail = new Detail({
  like: (photo) => go({ like: photo }),
  step: (photo, by) => neighbour(photo, by),
  place,
  closed: (photo) => photo && sheet.focus(photo.photo_id),
});
const imports = new Imports({ openPhoto });
const notices = new Notices();
const uploads = new Uploads({ openPhoto, added: hear });

function open(photo) {
  detail.open(photo);
}

async function openPhoto(id) {
  try {
    detail.open(await client.photo(id));
  } catch (problem) {
    say(problem.message);
  }
}

function neighbour(photo, by) {
  const photos = sheet.photos;
  const index = photos.findIndex((each) => each.photo_id === photo.photo_id);
  return index < 0 ? null : (photos[index + by] ?? null);
}

function place(photo) {
  const photos = sheet.photos;
  const index = photos.findIndex((each) => each.photo_id === photo.photo_id);
  return index < 0 ? "" : `${count(index + 1)} of ${count(photos.length)}`;
}

/** Look at something else. */
function go(next) {
  view = next;
  if (!view.text) query.value = "";
  scrollTo({ top: 0 });
  load();
}

/** Load what the view shows, from the start. */
async function load() {
  loading.abort();
  loading = new AbortController();
  const { signal } = loading;
  drawFilters();
  drawLead(null);
  try {
    if (view.filter === "rejected") await loadRejected(signal, null);
    else if (view.filter) await loadPhotos(signal, null);
    else await loadHits(signal);
  } catch (problem) {
    if (problem.name === "AbortError") return;
    if (sheet.size === 0) instead(noneHere("This can’t be shown now", problem.message));
    say(problem.message);
  }
}

async function loadPhotos(signal, from) {
  const filter = view.filter;
  const chosen = STATUS[filter] ?? { outcome: filter };
  const told = new Map();
  meanwhile = told;
  const { items, next } = await client.photos({ ...chosen, limit: PAGE, cursor: from }, signal);
  if (from === null) sheet.clear();
  sheet.append(items.filter((photo) => belongs(photo, filter)));
  for (const photo of told.values()) sheet.update(photo, belongs(photo, filter));
  if (meanwhile === told) meanwhile = null;
  cursor = next;
  at("more").hidden = next === null;
  at("more").textContent = "Show more";
  drawEmpty();
}

async function loadRejected(signal, from) {
  const { rows, next } = await rejected.load(from, imports.batches, signal);
  const list = from === null ? h("ul", { class: "files", "aria-label": "Rejected files" }) : at("instead").firstElementChild;
  list.append(...rows);
  sheet.clear();
  cursor = next;
  at("more").hidden = next === null;
  instead(list.children.length ? list : noneHere("Nothing was rejected", "Files that cannot be read are listed here with the reason."));
}

async function loadHits(signal) {
  const asked = view.like ? { like: view.like.photo_id } : { q: view.text };
  const { items } = await client.search({ ...asked, limit: 120 }, signal);
  const good = strong(items.map((hit) => hit.score));
  weaker = items.slice(good);
  cursor = null;
  sheet.clear();
  showHits(items.slice(0, good));
  drawLead(items.length);
  at("more").hidden = weaker.length === 0;
  at("more").textContent = `Show ${count(weaker.length)} weaker`;
  if (items.length) instead(null);
  else instead(view.like ? noneHere("Nothing is like it yet", "More photos are needed to compare with.") : noneHere("No photo has these words", "Labels, categories and the text on photos are searched. Try fewer or other words."));
  say(items.length === 1 ? "1 photo found" : `${items.length} photos found`);
}

function showHits(hits) {
  sheet.append(hits.map((hit) => hit.photo), hits.map((hit) => hit.score));
}

async function more() {
  const { signal } = loading;
  try {
    if (view.filter === "rejected") await loadRejected(signal, cursor);
    else if (view.filter) await loadPhotos(signal, cursor);
    else {
      showHits(weaker);
      at("more").hidden = true;
    }
  } catch (problem) {
    if (problem.name !== "AbortError") say(problem.message);
  }
}

/** Cards at the end made room for new ones: "Show more" must begin after the last one again. */
function dropTail() {
  const last = sheet.photos.at(-1);
  if (!last || !view.filter) return;
  cursor = null;
  at("more").hidden = false;
  at("more").textContent = "Back to the newest";
}

function instead(element) {
  at("instead").replaceChildren(...(element ? [element] : []));
  at("instead").hidden = !element;
}

function drawEmpty() {
  if (sheet.size > 0) instead(null);
  else if (view.filter === "all") instead(noPhotos());
  else instead(noneHere("None here", "Photos with this outcome appear as they are analysed."));
}

function drawFilters() {
  const sometimes = ["pending", "cancelled"].filter((name) => counts?.[name] || view.filter === name);
  const shown = [...FILTERS, ...sometimes];
  const nav = at("filters");
  const focused = nav.contains(document.activeElement) ? document.activeElement.dataset.filter : null;
  nav.replaceChildren(...shown.map((name) =>
    h("button", { type: "button", "data-filter": name, "data-tone": name, "aria-pressed": String(view.filter === name), onclick: () => go({ filter: name }) },
      name === "all" ? "All" : TONES[name], counts && h("span", { class: "count" }, count(numberOf(name))))));
  if (focused) nav.querySelector(`[data-filter="${focused}"]`)?.focus();
}

function numberOf(name) {
  if (name === "all") return counts.photos - counts.rejected;
  return name === "rejected" ? counts.rejected + counts.refused : counts[name];
}

function drawLead(found) {
  const lead = at("lead");
  lead.hidden = Boolean(view.filter);
  if (view.filter) return;
  const number = found === null ? "Searching" : found === 1 ? "1 photo" : `${count(found)} photos`;
  const hint = found && view.like ? "the number on each is how much alike they are" : found ? "the number on each is how well it matches" : "";
  lead.replaceChildren(
    ...(view.like?.links.thumbnail ? [h("img", { src: view.like.links.thumbnail, alt: "" })] : []),
    h("h2", {}, view.like ? `More like ${view.like.label ?? nameOf(view.like)}` : `“${view.text}”`),
    h("p", {}, [number, hint].filter(Boolean).join("; ")),
    h("button", { class: "button quiet", type: "button", onclick: () => go({ filter: "all" }) }, "Back to all photos"));
}

const recount = throttled(async () => {
  try {
    const told = await client.system();
    counts = told.counts;
    drawFilters();
    const parts = Object.entries(told.components).filter(([, version]) => version === null).map(([name]) => name);
    at("about").textContent = `Darkroom ${told.version}${parts.length ? ` · not reached: ${parts.join(", ")}` : ""}`;
  } catch {
    // the connection's state says so already
  }
}, 1000);

// Live: news are gathered and drawn together, so that a fast import does not make the page stutter.
const news = new Map();
/** What is told while a list is on its way, which may be older than that. */
let meanwhile = null;
const drawNews = throttled(() => requestAnimationFrame(() => {
  let fresh = 0;
  for (const photo of news.values()) {
    detail.update(photo);
    uploads.update(photo);
    if (view.filter === "rejected") addRejected(photo);
    else if (view.filter) {
      sheet.update(photo, belongs(photo, view.filter));
      fresh += 1;
    }
  }
  news.clear();
  if (view.filter && view.filter !== "rejected") drawEmpty();
  if (fresh && !document.hidden) say(fresh === 1 ? "A photo was updated" : `${fresh} photos were updated`);
}), 120);

function hear(photo) {
  news.set(photo.photo_id, photo);
  meanwhile?.set(photo.photo_id, photo);
  drawNews();
  recount();
}

function addRejected(photo) {
  if (toneOf(photo) !== "rejected") return;
  const list = at("instead").querySelector(".files");
  if (!list) load();
  else if (!list.querySelector(`[data-rejected="${photo.photo_id}"]`)) list.prepend(rejected.fromPhoto(photo));
}

let everLive = false;
const retry = connect({
  message(told) {
    if (told.type === "photo") hear(told.photo);
    else if (told.type === "batch") {
      imports.update(told.batch);
      recount();
    } else if (told.type === "notice") notices.add(told.notice);
  },
  state(state, seconds) {
    const words = { connecting: "Connecting", live: "Live", lost: "Offline" };
    at("link-state").dataset.state = state;
    at("link-state").querySelector(".words").textContent = words[state];
    at("offline").hidden = state !== "lost";
    if (state === "lost") {
      at("offline").replaceChildren(
        `No connection to Darkroom. What you see may be old; trying again in ${Math.max(1, Math.round(seconds))} s.`,
        h("button", { type: "button", onclick: () => retry() }, "Try now"));
    }
    if (state === "live") {
      if (everLive && view.filter) load(); // what happened meanwhile
      if (everLive) start();
      everLive = true;
    }
  },
});

async function tellWho() {
  const me = await client.session().catch(() => null);
  const looksOn = me?.role === "viewer";
  for (const way of [document.querySelector(".add"), at("files")]) way.hidden = looksOn;
  if (!me?.ends_at) return;
  const out = async () => {
    await client.signOut();
    location.reload();
  };
  at("who").replaceChildren(`${me.name.replace(/^key:/, "")}, ${me.role}`, h("button", { type: "button", onclick: out }, "Sign out"));
  at("who").hidden = false;
}

async function start() {
  tellWho();
  recount();
  await lookAtImports();
}

async function lookAtImports() {
  try {
    imports.replace((await client.imports(20)).items);
  } catch (problem) {
    say(problem.message);
  }
}

at("more").addEventListener("click", () => {
  if (view.filter && view.filter !== "rejected" && cursor === null) go(view);
  else more();
});

let typing = null;
function searchNow() {
  clearTimeout(typing);
  const text = query.value.trim();
  if (text === (view.text ?? "")) return;
  if (text) go({ text });
  else go({ filter: "all" });
}
query.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(searchNow, 300);
});
at("search").addEventListener("submit", (event) => {
  event.preventDefault();
  searchNow();
});

addEventListener("keydown", (event) => {
  if (document.querySelector("dialog[open]") || event.ctrlKey || event.metaKey || event.altKey) return;
  const typed = event.target.matches("input, textarea");
  if (event.key === "/" && !typed) {
    event.preventDefault();
    query.focus();
    query.select();
  } else if (event.key === "Escape" && !view.filter) {
    query.blur();
    go({ filter: "all" });
  } else if (event.key === "Escape" && typed) query.blur();
});

addEventListener("scroll", () => document.querySelector(".top").classList.toggle("stuck", scrollY > 4), { passive: true });

setInterval(() => {
  if (imports.moving && !document.hidden) lookAtImports();
}, LOOK_MS);

start();
load();
