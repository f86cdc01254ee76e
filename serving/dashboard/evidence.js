// Why a version serves, or does not: its trigger, data, gates, candidates, approver, scores and steps.

import { button, get, make } from "./elements.js";
import { count, number, place, quality } from "./format.js";
import { nameOf, status } from "./lanes.js";
import { actionButton } from "./manage.js";

let shown = null;

/** Open the evidence of a version. */
export function openEvidence(state, version) {
  if (!state.versions.has(version)) return;
  shown = version;
  fill(state);
  get("evidence").showModal();
}

/** Bring an open dialog up to date. */
export function refreshEvidence(state) {
  if (!get("evidence").open || !state.versions.has(shown)) return;
  const focused = document.activeElement?.id;
  const top = get("evidence").scrollTop;
  fill(state);
  get("evidence").scrollTop = top;
  if (focused === "evidence-close") get(focused).focus();
}

/** What may be asked of a version as it stands; the API says whether it is done. */
export function actionsOn(state, view) {
  const served = view.spans.some((span) => span.part === "champion");
  const serves = view.status === "champion";
  const actions = [];
  if (view.status === "awaiting_approval") {
    actions.push(actionButton("approve", "Approve", view.version), actionButton("reject", "Reject", view.version));
  } else if (!serves && view.kind !== "none" && view.version !== "online" && !served) {
    actions.push(actionButton("promote", "Promote", view.version));
  }
  if (!serves && (served || view.version === "online")) actions.push(actionButton("rollback", "Roll back to it", view.version, state.pipeline));
  const run = state.retraining?.run;
  if (run && run.run_id === view.run_id) actions.push(actionButton("cancel", "Cancel its run", run.run_id));
  return actions;
}

function fill(state) {
  const view = state.versions.get(shown);
  const [tone, glyph, word] = status(view);
  const close = button("close", "×", () => get("evidence").close());
  close.id = "evidence-close";
  close.setAttribute("aria-label", "Close");
  const title = make("h2", "", nameOf(view));
  title.id = "evidence-title";
  get("evidence").replaceChildren(
    make("div", `row ${tone}`, make("span", "glyph", glyph), title, make("span", "badge", word), make("span", "what", ""), close),
    view.why_status ? make("p", "lead-note", view.why_status) : null,
    make("div", "actions", ...actionsOn(state, view)),
    facts(state, view),
    view.gates.length ? section("Gates", gateTable(view.gates, true)) : null,
    view.candidates.length ? section("Candidates, on the same later rows", candidateTable(state, view.candidates)) : null,
    view.steps.length ? section("Steps", stepList(state, view.steps)) : null,
  );
}

function section(title, content) {
  return make("section", "", make("h3", "", title), content);
}

function facts(state, view) {
  const rows = [
    ["Trigger", [view.trigger, view.reason].filter(Boolean).join(": ")],
    ["Asked for by", view.asked_by],
    ["Approved by", view.approver],
    ["Data", view.data ? dataRange(view.data) : ""],
    ["Scored", scores(state, view.version)],
    ["Generation", view.generation === null ? "" : String(view.generation)],
    ["Artifact", view.digest ? `sha256 ${view.digest.slice(0, 16)}…, ${count(view.size_bytes)} bytes` : ""],
    ["Run", view.run_id],
    ...Object.entries(view.lineage).map(([name, value]) => [name.replaceAll("_", " "), value]),
  ].filter(([, value]) => value);
  return make("dl", "facts", ...rows.flatMap(([name, value]) => [make("dt", "", name), make("dd", "", value)]));
}

function dataRange(data) {
  const parts = Object.entries(data.offsets).map(([partition, [start, stop]]) => `examples/${partition}: ${count(start)} – ${count(stop)}`);
  return `${count(data.rows ?? 0)} labelled rows (${parts.join(", ")})`;
}

function scores(state, version) {
  const held = state.scores?.[version];
  if (!held) return "";
  const loss = held.log_loss === null ? "" : `, log loss ${number(held.log_loss)}`;
  return `${quality(state.task, held.quality)}${loss} over ${count(held.rows)} labelled rows`;
}

export function gateTable(gates, details = false) {
  const head = make("tr", "", ...["gate", "value", "limit", "verdict"].map((name) => make("th", "", name)));
  const rows = gates.flatMap((gate) => {
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
    if (!details || !gate.detail) return [row];
    const detail = make("td", "", gate.detail);
    detail.colSpan = 4;
    return [row, make("tr", "detail", detail)];
  });
  return make("table", "gates", make("thead", "", head), make("tbody", "", ...rows));
}

function candidateTable(state, candidates) {
  const names = state.task === "regression" ? [["mae", "MAE"], ["rmse", "RMSE"]] : [["log_loss", "log loss"], ["accuracy", "accuracy"]];
  const head = make("tr", "", make("th", "", "candidate"), ...names.map(([, label]) => make("th", "", label)));
  const rows = candidates.map((each) =>
    make("tr", "", make("td", "", each.name.replaceAll("_", " ")), ...names.map(([name]) => make("td", "", number(each[name])))),
  );
  return make("table", "gates", make("thead", "", head), make("tbody", "", ...rows));
}

function stepList(state, steps) {
  return make(
    "ol",
    "history",
    ...steps.map((step) =>
      make(
        "li",
        "",
        make("span", "when", place(step.event_time_ms, state.timed)),
        make("span", "what", step.step.replaceAll("_", " ")),
        make("span", "why", [step.by ? `by ${step.by}` : "", step.reason].filter(Boolean).join(": ")),
      ),
    ),
  );
}
