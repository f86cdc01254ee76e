// One lane per version, on the axis of the chart above: what it was from when until when.

import { get, make } from "./elements.js";
import { place } from "./format.js";

const MOST_LANES = 60;

export const STATUS = {
  champion: ["good", "●", "in production"], canary: ["info", "◑", "canary"], shadow: ["info", "○", "in shadow"],
  awaiting_approval: ["warning", "?", "waits for approval"], approved: ["info", "✓", "approved"],
  trained: ["plain", "○", "trained"], registered: ["plain", "○", "registered"],
  archived: ["plain", "□", "archived"], rolled_back: ["warning", "↩", "rolled back"], rejected: ["warning", "✕", "rejected"],
  failed: ["critical", "◆", "failed"], cancelled: ["plain", "–", "cancelled"],
};

export const status = (view) => STATUS[view.status] ?? ["plain", "○", (view.status || "made").replaceAll("_", " ")];

const PARTS = { made: "in the making", waiting: "waiting for approval", shadow: "in shadow", canary: "canary", champion: "in production", predecessor: "in shadow after its time" };

/** Versions, the newest first, with what serves however old it is; the online model, which is always there, last. */
export function versionsOf(state) {
  const sorted = [...state.versions.values()].sort((a, b) => b.seq - a.seq);
  return sorted.filter((view, place) => place < MOST_LANES || view.status === "champion" || view.kind === "online");
}

/** A short name: attempts that came to nothing have only their run's number. */
export function nameOf(view) {
  if (view.kind !== "none") return view.version;
  const number = /-(\d+)-[0-9a-f]+$/.exec(view.version);
  return number ? `run ${number[1]}` : view.version;
}

export class Lanes {
  /** `open` is called with the version whose evidence is wanted. */
  constructor(open) {
    this.open = open;
    this.bars = [];
    this.plot = null;
  }

  show(state) {
    const views = versionsOf(state);
    this.bars = [];
    const focused = document.activeElement?.dataset?.version;
    get("lanes").replaceChildren(...views.map((view) => this.lane(view, state.timed)));
    if (focused !== undefined) [...get("lanes").querySelectorAll("button")].find((each) => each.dataset.version === focused)?.focus();
    this.draw(this.plot);
  }

  lane(view, timed) {
    const [tone, glyph, word] = status(view);
    const track = make("span", "track");
    track.setAttribute("aria-hidden", "true");
    for (const span of view.spans) {
      const bar = make("span", `bar ${span.part}`);
      bar.title = `${nameOf(view)} ${PARTS[span.part] ?? span.part}: ${span.from_ms === null ? "start" : place(span.from_ms, timed)} – ${span.to_ms === null ? "now" : place(span.to_ms, timed)}`;
      if (span.part === "canary" && span.share) bar.title += ` (${Math.round(span.share * 100)} % of the entities)`;
      track.append(bar);
      this.bars.push({ element: bar, from: span.from_ms, to: span.to_ms });
    }
    if (["rejected", "failed", "cancelled", "rolled_back"].includes(view.status) && view.event_time_ms !== null) {
      const end = make("span", `end ${tone}`, glyph);
      track.append(end);
      this.bars.push({ element: end, from: view.event_time_ms, point: true });
    }
    const name = make("span", `lane-name ${tone}`, nameOf(view));
    const row = make("button", "lane", name, track);
    row.type = "button";
    row.dataset.version = view.version;
    row.title = `${view.version}: ${word}`;
    row.setAttribute("aria-label", `${nameOf(view)}, ${word}: show the evidence`);
    row.addEventListener("click", () => this.open(view.version));
    return make("li", "", row);
  }

  /** Put every bar where the chart has its times. */
  draw(plot) {
    this.plot = plot;
    if (!plot || !Number.isFinite(plot.scales.x?.min)) return;
    const left = plot.over.offsetLeft;
    const width = plot.over.clientWidth;
    const style = get("lanes").style;
    style.setProperty("--axis-left", `${left}px`);
    style.setProperty("--axis-width", `${width}px`);
    const at = (ms) => (ms === null ? 0 : Math.min(width, Math.max(0, plot.valToPos(ms / 1000, "x"))));
    for (const { element, from, to, point } of this.bars) {
      const start = at(from);
      element.style.left = `${start}px`;
      if (!point) element.style.width = `${Math.max(3, (to === null ? width : at(to)) - start)}px`;
    }
  }
}
