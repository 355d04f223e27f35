// What a person should know, as it comes: a few quiet cards in a corner.

import { h, icon, ICONS, say, sentence, when } from "./dom.js";

const MOST = 4;
const STAYS_MS = 15000; // what is only good to know; the rest stays until it is closed

export class Notices {
  #list = document.getElementById("notices");
  #known = new Set();

  add(notice) {
    if (this.#known.has(notice.notice_id)) return;
    this.#known.add(notice.notice_id);
    const card = h("li", { "data-severity": notice.severity, title: when(notice.occurred_at) },
      h("b", {}, notice.title), notice.detail && h("p", {}, sentence(notice.detail)),
      h("button", { class: "button quiet close", type: "button", "aria-label": "Close this notice", onclick: () => this.#drop(card) }, icon(ICONS.close)));
    this.#list.append(card);
    while (this.#list.children.length > MOST) this.#list.firstElementChild.remove();
    this.#list.hidden = false;
    say(`${notice.title}. ${notice.detail}`);
    if (notice.severity === "info") this.#dropLater(card);
  }

  #dropLater(card) {
    setTimeout(() => {
      if (card.matches(":hover, :focus-within")) this.#dropLater(card);
      else this.#drop(card);
    }, STAYS_MS);
  }

  #drop(card) {
    card.remove();
    this.#list.hidden = this.#list.children.length === 0;
  }
}
