// Lines over time, drawn as SVG: gaps stay gaps, and the pointer tells what was when.

import { h, s } from "./dom.js";

const HEIGHT = 150;
const PAD = { left: 46, right: 10, top: 10, bottom: 22 }; // left: at least
const GAP = 7;
const TICK = 76; // pixels
const HOUR_MS = 3600e3;

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

/** The least round number that is not below `most`: 1, 2 or 5 and zeros. */
export function roundAbove(most) {
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 5, 10].map((each) => each * power).find((each) => each >= most * (1 - 1e-9));
}

/** Path data of a line through what is known; `x` and `y` give places. */
export function path(values, x, y) {
  let data = "";
  let before = false;
  values.forEach((value, place) => {
    const known = value !== null && value !== undefined;
    if (known) data += `${before ? "L" : "M"}${x(place).toFixed(1)} ${y(value).toFixed(1)}${before ? "" : "h0.01"}`;
    before = known;
  });
  return data;
}

/** When to write the time below: whole hours or parts of them, at most so many. */
export function ticks(since, until, most) {
  const steps = [1 / 12, 1 / 6, 1 / 4, 1 / 2, 1, 2, 3, 4, 6, 12].map((hours) => hours * HOUR_MS);
  const step = steps.find((each) => (until - since) / each <= most) ?? steps.at(-1);
  const shift = new Date(since).getTimezoneOffset() * 60e3; // on the hours of the clock on the wall
  const first = Math.ceil((since - shift) / step) * step + shift;
  return Array.from({ length: Math.max(0, Math.floor((until - first) / step) + 1) }, (_, number) => first + number * step);
}

export class Plot {
  /** `lines`: [{name, series, colour}]; `shown` writes a number; `least`: the scale goes so far at least. */
  constructor({ title, lines, shown, least = 1 }) {
    this.lines = lines;
    this.shown = shown;
    this.least = least;
    this.told = h("span", { class: "told" });
    this.frame = h("div", { class: "frame" });
    this.keys = lines.map((line) => h("li", {}, h("i", { "--colour": `var(${line.colour})` }), line.name, h("b", {})));
    this.element = h("figure", { class: "plot" },
      h("figcaption", {}, h("h3", {}, title), this.told),
      this.frame,
      h("ul", { class: "keys" }, this.keys));
    this.frame.addEventListener("pointermove", (event) => this.#point(event));
    this.frame.addEventListener("pointerleave", () => this.#leave());
    new ResizeObserver(() => this.history && this.#draw()).observe(this.frame);
  }

  update(history) {
    this.history = history;
    this.#draw();
  }

  #draw() {
    const { at, series, step_s: step } = this.history;
    const width = this.frame.clientWidth;
    if (!width) return;
    this.times = at.map((each) => Date.parse(each) + step * 500);
    const since = Date.parse(this.history.since), until = Date.parse(this.history.until);
    const known = this.lines.flatMap((line) => series[line.series] ?? []).filter((value) => value !== null);
    const top = roundAbove(Math.max(this.least, ...known));
    const y = (value) => HEIGHT - PAD.bottom - (value / top) * (HEIGHT - PAD.top - PAD.bottom);
    const drawing = s("svg", { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": this.#summary(series) });
    this.frame.replaceChildren(drawing);
    const steps = [0, top / 2, top];
    const marks = steps.map((value) => s("text", { class: "mark", y: y(value) + 4, "text-anchor": "end" }, this.shown(value)));
    drawing.append(...marks);
    const left = Math.max(PAD.left, GAP + Math.ceil(Math.max(...marks.map((mark) => mark.getComputedTextLength()))));
    this.scale = (time) => left + ((time - since) / (until - since)) * (width - left - PAD.right);
    for (const mark of marks) mark.setAttribute("x", left - GAP);
    drawing.append(...steps.map((value) => s("line", { class: "rule", x1: left, x2: width - PAD.right, y1: y(value), y2: y(value) })));
    for (const time of ticks(since, until, width / TICK)) {
      const x = this.scale(time);
      if (x < left + 14 || x > width - PAD.right - 14) continue;
      drawing.append(s("text", { class: "mark", x, y: HEIGHT - 5, "text-anchor": "middle" }, clock.format(time)));
    }
    for (const line of [...this.lines].reverse()) {
      const data = path(series[line.series] ?? [], (place) => this.scale(this.times[place]), y);
      drawing.append(s("path", { class: "line", d: data, "--colour": `var(${line.colour})` }));
    }
    this.cursor = s("line", { class: "cursor", y1: PAD.top, y2: HEIGHT - PAD.bottom, visibility: "hidden" });
    drawing.append(this.cursor);
    if (!known.length) this.frame.append(h("p", { class: "nothing" }, "Nothing was measured yet."));
    this.#tell(this.place ?? null);
  }

  #summary(series) {
    return this.lines.map((line) => {
      const value = (series[line.series] ?? []).findLast((each) => each !== null);
      return `${line.name}: ${value === undefined ? "not known" : this.shown(value)}`;
    }).join(", ");
  }

  #point(event) {
    if (!this.history?.at.length) return;
    const x = event.clientX - this.frame.getBoundingClientRect().left;
    const far = this.times.map((time) => Math.abs(this.scale(time) - x));
    this.#tell(far.indexOf(Math.min(...far)));
  }

  #leave() {
    this.#tell(null);
  }

  /** Say what was at a place; null: what was last. */
  #tell(place) {
    const { series } = this.history;
    this.place = place !== null && place < this.times.length ? place : null;
    this.told.textContent = this.place === null ? "" : clock.format(this.times[this.place]);
    this.lines.forEach((line, number) => {
      const values = series[line.series] ?? [];
      const value = this.place === null ? values.findLast((each) => each !== null) : values[this.place];
      this.keys[number].querySelector("b").textContent = value === null || value === undefined ? "–" : this.shown(value);
    });
    if (this.place === null) {
      this.cursor.setAttribute("visibility", "hidden");
      return;
    }
    const x = this.scale(this.times[this.place]);
    this.cursor.setAttribute("x1", x);
    this.cursor.setAttribute("x2", x);
    this.cursor.setAttribute("visibility", "visible");
  }
}
