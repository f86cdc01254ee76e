// Tiles and lists. Whatever comes from outside is inserted as text, never as markup.

import { LINES, MARKERS, glyphPath, marksOf } from "./chart.js";
import { count, kind, model, number, pValue, place, quality, rate } from "./format.js";

const get = (id) => document.getElementById(id);
const say = (id, text) => {
  if (get(id).textContent !== text) get(id).textContent = text;
};

function make(tag, className, ...content) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...content.filter((item) => item !== null && item !== ""));
  return element;
}

function svg(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export function buildLegend() {
  for (const line of LINES.toReversed()) {
    const picture = svg("svg", { viewBox: "0 0 26 12", "aria-hidden": "true" });
    const stroke = { x1: 1, x2: 25, y1: 6, y2: 6, stroke: color(line.color), "stroke-width": Math.max(2, line.width) };
    picture.append(svg("line", line.dash ? { ...stroke, "stroke-dasharray": line.dash.join(" ") } : stroke));
    const value = make("b");
    value.id = `line-${line.key}`;
    get("legend").append(make("li", "", picture, line.name, value));
  }
  for (const marker of Object.values(MARKERS)) {
    const picture = svg("svg", { viewBox: "0 0 16 12", "aria-hidden": "true" });
    picture.style.width = "16px";
    picture.append(svg("path", { d: glyphPath(marker.glyph, 8, 6, 4.6), fill: color(marker.color) }));
    get("legend").append(make("li", "", picture, marker.name));
  }
}

/* What the last label, or the commonest class, would have scored on the same examples; and how far beyond chance. */
function baseline(state) {
  const { no_change_accuracy: same, majority_accuracy: most, kappa, log_loss: loss, no_change_mae: step } = state.quality ?? {};
  const number = (value) => (typeof value === "number" ? value.toFixed(3) : "–");
  if (typeof step === "number") return ` · last value ${quality(state.task, step)}`;
  if (typeof most !== "number") return "";
  return ` · last label ${quality(state.task, same)} · commonest class ${quality(state.task, most)} · kappa ${number(kappa)} · log loss ${number(loss)}`;
}

export function showTiles(state) {
  const { served, throughput } = state;
  const last = state.points[state.points.length - 1] ?? {};
  const error = state.task === "regression";
  const measure = error ? "Rolling mean absolute error" : "Rolling accuracy";
  say("pipeline", state.pipeline);
  say("quality-title", measure);
  say("chart-title", `${measure} over the stream`);
  say("quality", quality(state.task, last.champion));
  const beside = served.version !== "online" && typeof last.online === "number" ? ` · online ${quality(state.task, last.online)}` : "";
  say("quality-sub", last.champion === undefined ? "no labelled examples yet" : `last 500 labelled${beside}${baseline(state)}`);
  for (const line of LINES) say(`line-${line.key}`, quality(state.task, last[line.key]).replace("–", ""));

  say("version", model(served.version));
  get("version").title = served.version;
  get("version").classList.toggle("long", model(served.version).length > 8);
  const snapshot = served.snapshot === null || served.snapshot === undefined ? "" : `${count(served.snapshot)} examples learned`;
  const shadows = served.shadows.length ? `shadow: ${served.shadows.map((shadow) => shadow.version).join(", ")}` : "";
  const sort = served.kind === "prior" ? "nothing learned yet" : served.version === "online" ? "" : served.kind;
  say("version-sub", [`generation ${served.generation}`, sort, served.kind === "prior" ? "" : snapshot, shadows].filter(Boolean).join(" · "));

  say("rate", rate(throughput.predictions_per_s));
  say("total", count(throughput.predictions));
  say("labelled-rate", rate(throughput.labelled_per_s));
  say("labelled-total", count(throughput.labelled));
  const top = Math.max(1, ...throughput.history);
  const points = throughput.history.map((value, second) => `${second},${(28 - (26 * value) / top).toFixed(1)}`);
  get("spark").firstElementChild.setAttribute("points", points.join(" "));

  const open = [...state.incidents.values()].filter((incident) => incident.status !== "closed");
  const critical = open.filter((incident) => incident.level === "critical").length;
  get("drift-tile").dataset.level = critical ? "critical" : open.length ? "warning" : "quiet";
  say("open", String(open.length));
  say("open-sub", critical ? `${critical} critical` : open.length ? "warnings only" : "all quiet");
}

export function showMarks(state) {
  const marks = marksOf(state);
  get("markers").replaceChildren(...marks.map((mark) => make("li", mark.type, `${place(mark.x, state.timed)}: ${mark.text}`)));
  const last = state.points[state.points.length - 1];
  get("chart-empty").hidden = Boolean(last);
  get("chart-empty").style.display = last ? "none" : "";
  say(
    "chart-summary",
    last ? `Up to ${place(last.x, state.timed)}: served ${quality(state.task, last.champion)}, ${marks.length} markers.` : "No points yet.",
  );
}

function fill(id, items, build) {
  get(id).replaceChildren(...items.map(build));
  get(`${id}-empty`).hidden = items.length > 0;
}

export function showIncidents(state) {
  const items = [...state.incidents.values()].sort(
    (a, b) => (a.status === "closed") - (b.status === "closed") || b.opened - a.opened,
  );
  const open = items.filter((incident) => incident.status !== "closed").length;
  say("incidents-count", items.length ? `${open} open, ${items.length - open} closed` : "");
  fill("incidents", items, (incident) => {
    const shut = incident.status === "closed";
    const span = shut ? `${place(incident.opened, state.timed)} – ${place(incident.closed, state.timed).replace("row ", "")}` : place(incident.opened, state.timed);
    const drop = incident.performance_drop ? `performance −${(incident.performance_drop * 100).toFixed(1)} %` : "";
    const facts = [`effect ${number(incident.effect)}`, pValue(incident.p_value), incident.detector, drop].filter(Boolean);
    return make(
      "li",
      `${incident.level}${shut ? " closed" : ""}`,
      make(
        "div",
        "row",
        make("span", "glyph", incident.level === "critical" ? "◆" : "▲"),
        make("span", "what", kind(incident.kind), incident.feature ? ` · ${incident.feature}` : ""),
        make("span", `badge ${shut ? "shut" : "open"}`, shut ? "closed" : incident.level),
        shut ? null : make("span", "when", span),
      ),
      make("p", "note", [...(shut ? [span] : []), ...facts].join(" · ")),
      incident.advice && !shut ? make("p", "note", incident.advice) : null,
    );
  });
}

const OUTCOMES = {
  promoted: ["good", "✓", "promoted"], settled: ["good", "✓", "promoted, settled"], rejected: ["warning", "✕", "rejected"],
  failed: ["critical", "◆", "failed"], not_started: ["plain", "–", "not started"],
  rolled_back: ["warning", "↩", "rolled back"], refused: ["plain", "✕", "refused"],
};

export function showRuns(state) {
  const items = [...state.runs.values()].sort((a, b) => b.event_time_ms - a.event_time_ms || b.revision - a.revision);
  say("runs-count", items.length ? `${items.length} in all` : "");
  fill("runs", items, (run) => {
    const [tone, glyph, outcome] = OUTCOMES[run.step] ?? ["plain", "●", run.step];
    // Once settled, what people ask is still why it was promoted.
    const told = (run.step === "settled" && run.steps.findLast((step) => step.step === "promoted")) || run;
    return make(
      "li",
      tone,
      make(
        "div",
        "row",
        make("span", "glyph", glyph),
        make("span", "what", run.version || run.run_id),
        make("span", `badge ${run.step in OUTCOMES ? "shut" : "open"}`, outcome),
        make("span", "when", place(told.event_time_ms, state.timed)),
      ),
      make("p", "note", told.reason),
      make("ol", "steps", ...run.steps.map((step) => stepOf(step, state.timed))),
      run.gates.length ? gateTable(run.gates) : null,
    );
  });
}

function stepOf(step, timed) {
  const item = make("li", "", step.step.replace("_", " "));
  item.title = `${place(step.event_time_ms, timed)}: ${step.reason}`;
  return item;
}

function gateTable(gates) {
  const head = make("tr", "", ...["gate", "value", "limit", "verdict"].map((name) => make("th", "", name)));
  const rows = gates.map((gate) => {
    const [tone, verdict] = gate.passed === true ? ["passed", "✓ passed"] : gate.passed === false ? ["failed", "✕ failed"] : ["", "reported"];
    const row = make(
      "tr",
      "",
      make("td", "", gate.name.replaceAll("_", " ")),
      make("td", "", number(gate.value)),
      make("td", "", number(gate.threshold)),
      make("td", tone, verdict),
    );
    row.title = gate.detail ?? "";
    return row;
  });
  return make("table", "gates", make("thead", "", head), make("tbody", "", ...rows));
}

export function showHistory(state) {
  const items = [...state.promotions.values()].sort((a, b) => b.generation - a.generation);
  fill("history", items, (promotion) => {
    const since = promotion.x === null ? "" : `since ${place(promotion.x, state.timed)}`;
    const after = promotion.predecessor ? `after ${promotion.predecessor}` : "";
    return make(
      "li",
      promotion.generation === state.served.generation ? "good" : "plain closed",
      make(
        "div",
        "row",
        make("span", "glyph", promotion.generation === state.served.generation ? "●" : "○"),
        make("span", "what", model(promotion.version, promotion.generation)),
        make("span", "when", [since, after].filter(Boolean).join(" · ")),
        make("span", "badge shut", `generation ${promotion.generation}`),
      ),
    );
  });
}

export function showAlerts(state) {
  const items = [...state.alerts.values()].sort((a, b) => b.revision - a.revision);
  say("alerts-count", items.length ? String(items.length) : "");
  const glyphs = { info: "●", warning: "▲", critical: "◆" };
  fill("alerts", items, (alert) =>
    make(
      "li",
      alert.severity,
      make("div", "row", make("span", "glyph", glyphs[alert.severity] ?? "●"), make("span", "what", alert.title), make("span", "when", alert.source)),
      make("p", "note", alert.detail),
    ),
  );
}
