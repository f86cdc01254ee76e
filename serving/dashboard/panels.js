// Tiles and lists.

import { LINES, MARKERS, glyphPath, marksOf } from "./chart.js";
import { button, get, make, say } from "./elements.js";
import { gateTable } from "./evidence.js";
import { nameOf, versionsOf } from "./lanes.js";
import { ACTIONS, actionButton, ask } from "./manage.js";
import { count, kind, model, number, pValue, place, quality, rate } from "./format.js";

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
  rolled_back: ["warning", "↩", "rolled back"], refused: ["plain", "✕", "refused"], cancelled: ["plain", "–", "cancelled"],
};

/* Steps that go on: people see that something is awaited. */
const AWAITED = { awaiting_approval: "waits for approval", canary: "canary", shadow: "in shadow" };

export function showRuns(state) {
  const items = [...state.runs.values()].sort((a, b) => b.event_time_ms - a.event_time_ms || b.revision - a.revision);
  say("runs-count", items.length ? `${items.length} in all` : "");
  fill("runs", items, (run) => {
    const [tone, glyph, outcome] = OUTCOMES[run.step] ?? ["plain", "●", AWAITED[run.step] ?? run.step.replaceAll("_", " ")];
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
  const item = make("li", "", step.step.replaceAll("_", " "));
  item.title = `${place(step.event_time_ms, timed)}: ${step.reason}`;
  return item;
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

/** Versions that wait for a person, above everything else. */
export function showWaiting(state, open) {
  const waiting = versionsOf(state).filter((view) => view.status === "awaiting_approval");
  get("waiting").hidden = waiting.length === 0;
  get("waiting").replaceChildren(
    ...waiting.map((view) =>
      make(
        "div",
        "wait warning",
        make("span", "glyph", "?"),
        make("p", "", make("b", "", `${nameOf(view)} waits for approval`), view.why_status ? `: ${view.why_status}` : ""),
        make("span", "actions", button("", "Evidence", () => open(view.version)), actionButton("reject", "Reject", view.version), actionButton("approve", "Approve", view.version)),
      ),
    ),
  );
}

/** The switch, and what can be asked for now. */
export function showControls(state) {
  const { enabled, switch: held, run } = state.retraining;
  const on = enabled && !held.paused;
  get("switch").setAttribute("aria-checked", String(on));
  get("switch").disabled = !enabled;
  say("switch-text", on ? "Automatic: on" : enabled ? "Automatic: paused" : "Automatic: off in the pipeline");
  get("switch").onclick = () => ask(held.paused ? ACTIONS.start() : ACTIONS.stop());
  const note = held.paused ? `Paused: ${held.reason || held.by}` : "";
  say("switch-note", note);
  get("switch-note").hidden = !note;
  const shape = run ? `${run.run_id}/${run.step}` : "";
  if (get("run-actions").dataset.shape !== shape) {
    get("run-actions").dataset.shape = shape;
    get("run-actions").replaceChildren(run ? actionButton("cancel", "Cancel the run", run.run_id) : actionButton("retrain", "Retrain now"));
  }
  const back = versionsOf(state).some((view) => view.status !== "champion" && view.spans.some((span) => span.part === "champion" || span.part === "predecessor"));
  if (get("history-actions").childElementCount !== Number(back)) {
    get("history-actions").replaceChildren(...(back ? [actionButton("rollback", "Roll back", "", state.pipeline)] : []));
  }
}
