// Keeps the page's copy of the overview up to date, and says whether it is.

import { Chart } from "./chart.js";
import { openEvidence, refreshEvidence } from "./evidence.js";
import { Lanes } from "./lanes.js";
import { prepareDialogs, setAccess } from "./manage.js";
import { buildLegend, showAlerts, showControls, showHistory, showIncidents, showMarks, showRuns, showTiles, showWaiting } from "./panels.js";

const STALE_AFTER_MS = 5000;
const MAX_POINTS = 4000;
const LISTS = ["incidents", "runs", "promotions", "alerts", "versions"];

const chart = new Chart(document.getElementById("chart"), document.getElementById("tip"));
const openVersion = (version) => openEvidence(state, version);
const lanes = new Lanes(openVersion);
chart.onDraw = (plot) => lanes.draw(plot);
let state = null;
let heardAt = performance.now();
let changed = new Set();
let scheduled = false;

function apply(data) {
  if (state === null || state.run !== data.run || data.since === 0) {
    state = { points: [], incidents: new Map(), runs: new Map(), promotions: new Map(), alerts: new Map(), versions: new Map() };
    changed = new Set(["points", ...LISTS]);
  }
  const { points, incidents: _i, runs: _r, promotions: _p, alerts: _a, versions: _v, ...rest } = data;
  if (state.served?.generation !== rest.served.generation) changed.add("promotions");
  Object.assign(state, rest);
  state.points.push(...points);
  if (points.length) changed.add("points");
  if (state.points.length > MAX_POINTS) {
    const half = MAX_POINTS / 2;
    state.points = state.points.filter((_point, index) => index >= half || index % 2 === 0);
  }
  for (const name of LISTS) {
    for (const item of data[name]) {
      state[name].set(item.key, item);
      changed.add(name);
    }
  }
  if (!scheduled) {
    scheduled = true;
    requestAnimationFrame(render);
  }
}

function render() {
  scheduled = false;
  const now = changed;
  changed = new Set();
  showTiles(state);
  if (now.has("points") || now.has("incidents") || now.has("promotions")) {
    chart.show(state);
    showMarks(state);
  }
  if (now.has("incidents")) showIncidents(state);
  if (now.has("runs")) showRuns(state);
  if (now.has("promotions")) showHistory(state);
  if (now.has("alerts")) showAlerts(state);
  document.getElementById("lanes-box").hidden = state.points.length === 0;
  if (now.has("versions")) {
    lanes.show(state);
    showWaiting(state, openVersion);
  }
  if (now.has("versions") || now.has("points")) refreshEvidence(state);
  setAccess(state.management);
  showControls(state);
  document.title = `${state.pipeline} · Penstock`;
}

function connection(kind, text) {
  const box = document.getElementById("connection");
  const label = document.getElementById("connection-text");
  if (box.dataset.state !== kind) box.dataset.state = kind;
  if (label.textContent !== text) label.textContent = text;
  document.body.toggleAttribute("data-stale", kind === "lost" && state !== null);
}

function open() {
  const source = new EventSource("v1/dashboard/stream");
  source.addEventListener("overview", (event) => {
    heardAt = performance.now();
    connection("live", "Live");
    apply(JSON.parse(event.data));
  });
  source.addEventListener("error", () => {
    connection("lost", "Connection lost, trying again");
    if (source.readyState === EventSource.CLOSED) setTimeout(open, 2000); // the server answered with an error
  });
}

buildLegend();
prepareDialogs();
open();
setInterval(() => {
  const silent = performance.now() - heardAt;
  if (silent > STALE_AFTER_MS) connection("lost", `No news for ${Math.round(silent / 1000)} s`);
}, 1000);
