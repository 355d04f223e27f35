// The contact sheet: which cards are shown, in which order, and moving among them by keyboard.

import { card } from "./card.js";
import { count, toneOf } from "./dom.js";

const MOST = 360; // cards; older ones come back by "Show more"

export class Sheet {
  #list = document.getElementById("sheet");
  #fresh = document.getElementById("fresh");
  #shown = new Map(); // photo id → {photo, element, score}
  #held = new Map(); // photos that came while the reader looked further down
  #on;

  /** `on` has open(photo), like(photo) and dropped(): older cards were taken away. */
  constructor(on) {
    this.#on = on;
    this.#list.addEventListener("keydown", (event) => this.#move(event));
    this.#fresh.addEventListener("click", () => this.#release());
  }

  get photos() {
    return [...this.#list.children].map((element) => this.#shown.get(element.dataset.photo).photo);
  }

  get size() {
    return this.#shown.size;
  }

  clear() {
    this.#shown.clear();
    this.#held.clear();
    this.#fresh.hidden = true;
    this.#list.replaceChildren();
  }

  /** Put photos (or hits with a score) behind the last one. */
  append(photos, scores = null) {
    const added = [];
    photos.forEach((photo, index) => {
      if (this.#shown.has(photo.photo_id)) return;
      const score = scores ? scores[index] : null;
      const element = card(photo, this.#on, { score });
      this.#shown.set(photo.photo_id, { photo, element, score });
      added.push(element);
    });
    this.#list.append(...added);
  }

  /** A photo has a new state; `belongs` says whether the present filter lets it in. */
  update(photo, belongs) {
    const known = this.#shown.get(photo.photo_id);
    if (!belongs) {
      known?.element.remove();
      this.#shown.delete(photo.photo_id);
      this.#held.delete(photo.photo_id);
    } else if (known) {
      this.#replace(known, photo);
    } else if (scrollY > 500) {
      this.#held.set(photo.photo_id, photo);
    } else {
      this.#insert(photo);
    }
    this.#offer();
  }

  #replace(known, photo) {
    if (JSON.stringify(known.photo) === JSON.stringify(photo)) return;
    const fresh = !known.photo.links.thumbnail || known.photo.status === "pending";
    const element = card(photo, this.#on, { score: known.score, fresh });
    const focused = known.element.contains(document.activeElement);
    known.element.replaceWith(element);
    if (focused) element.querySelector(".open").focus();
    this.#shown.set(photo.photo_id, { ...known, photo, element });
  }

  #insert(photo) {
    const element = card(photo, this.#on, { fresh: true });
    const after = [...this.#list.children].find(
      (other) => this.#shown.get(other.dataset.photo).photo.submitted_at <= photo.submitted_at);
    this.#list.insertBefore(element, after ?? null);
    this.#shown.set(photo.photo_id, { photo, element, score: null });
    while (this.#list.children.length > MOST) {
      const last = this.#list.lastElementChild;
      this.#shown.delete(last.dataset.photo);
      last.remove();
      this.#on.dropped();
    }
  }

  #release() {
    scrollTo({ top: 0 });
    for (const photo of this.#held.values()) this.#insert(photo);
    this.#held.clear();
    this.#offer();
  }

  #offer() {
    const waiting = this.#held.size;
    this.#fresh.hidden = waiting === 0;
    this.#fresh.textContent = waiting === 1 ? "1 new photo" : `${count(waiting)} new photos`;
  }

  /** Give the keyboard's focus to a photo's card. */
  focus(photoId) {
    const known = this.#shown.get(photoId);
    known?.element.querySelector(".open").focus();
  }

  #move(event) {
    const here = event.target.closest?.(".card");
    if (!here || event.ctrlKey || event.metaKey || event.altKey) return;
    const next = this.#neighbour(here, event.key);
    if (!next) return;
    event.preventDefault();
    const target = next.querySelector(".open");
    target.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  }

  #neighbour(here, key) {
    if (key === "ArrowRight") return here.nextElementSibling;
    if (key === "ArrowLeft") return here.previousElementSibling;
    if (key === "Home") return this.#list.firstElementChild;
    if (key === "End") return this.#list.lastElementChild;
    if (key !== "ArrowDown" && key !== "ArrowUp") return null;
    return nearest(here, [...this.#list.children], key === "ArrowDown" ? 1 : -1);
  }
}

/** The card of the next row whose middle is nearest. */
function nearest(here, cards, direction) {
  const box = here.getBoundingClientRect();
  const middle = box.left + box.width / 2;
  const others = cards
    .map((element) => ({ element, at: element.getBoundingClientRect() }))
    .filter(({ at }) => (at.top - box.top) * direction > 4);
  if (!others.length) return null;
  const row = others.reduce((best, { at }) => (direction > 0 ? Math.min(best, at.top) : Math.max(best, at.top)), direction * Infinity);
  const inRow = others.filter(({ at }) => Math.abs(at.top - row) < 4);
  inRow.sort((a, b) => Math.abs(a.at.left + a.at.width / 2 - middle) - Math.abs(b.at.left + b.at.width / 2 - middle));
  return inRow[0].element;
}

/** Whether a photo belongs to a filter: "all" or a tone. Rejected files have a list of their own. */
export function belongs(photo, filter) {
  const tone = toneOf(photo);
  return filter === "all" ? tone !== "rejected" : tone === filter;
}
