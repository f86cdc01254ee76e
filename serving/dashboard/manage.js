// What people do: each change is asked for once more, with a reason, and goes to the management API.

import { button, get, make, say } from "./elements.js";

const API = "api/v1/mlops";
const KEY = "penstock-api-key";

/** path: below the API; done: said when it was carried out. Roles and rules are the API's business. */
export const ACTIONS = {
  approve: (version) => ({ title: `Approve ${version}?`, about: "It goes on to production.", label: "Approve", path: `versioning/${encodeURIComponent(version)}/approve` }),
  reject: (version) => ({ title: `Reject ${version}?`, about: "Its run ends here, and what serves goes on serving.", label: "Reject", danger: true, path: `versioning/${encodeURIComponent(version)}/reject` }),
  promote: (version) => ({ title: `Promote ${version} to production?`, about: "It answers every request from then on; what serves now is scored in its shadow.", label: "Promote", path: `versioning/${encodeURIComponent(version)}/promote-to-production` }),
  rollback: (version, model) => ({ title: version ? `Roll back to ${version}?` : "Roll back to the version before?", about: "It serves again at once, under a higher generation.", label: "Roll back", danger: true, path: `versioning/${encodeURIComponent(model)}/rollback`, body: version ? { version } : {} }),
  retrain: () => ({ title: "Retrain now?", about: "A run starts on the newest labelled rows; the gates decide whether its model ships.", label: "Retrain", path: "retraining/trigger" }),
  cancel: (run) => ({ title: "Cancel the run?", about: `Run ${run} ends without a new version.`, label: "Cancel the run", danger: true, path: "retraining/cancel", body: { run_id: run } }),
  stop: () => ({ title: "Pause automatic retraining?", about: "Nothing starts by itself until it is resumed. People still may start runs.", label: "Pause", danger: true, path: "retraining/stop" }),
  start: () => ({ title: "Resume automatic retraining?", about: "Drift, schedule and the other triggers start runs again.", label: "Resume", path: "retraining/start" }),
};

let keyed = false;
let current = null;

/** How changes are let in: with `keys`, from this machine (`loopback`), or not at all (`off`). */
export function setAccess(management) {
  keyed = management === "keys";
  document.body.dataset.management = management;
}

/** A button for an action. */
export function actionButton(name, label, ...about) {
  const danger = ACTIONS[name](...about).danger;
  return button(`act${danger ? " danger" : ""}`, label, () => ask(ACTIONS[name](...about)));
}

export function ask(action) {
  current = { ...action, id: crypto.randomUUID?.() ?? `page-${Date.now()}-${Math.random().toString(36).slice(2)}` };
  say("ask-title", action.title);
  say("ask-about", action.about);
  say("ask-confirm", action.label);
  get("ask-confirm").classList.toggle("danger", Boolean(action.danger));
  get("ask-reason").value = "";
  get("ask-key").value = "";
  showKey(keyed && !sessionStorage.getItem(KEY));
  told("", "");
  busy(false);
  get("ask").showModal();
  (get("ask-key-row").hidden ? get("ask-reason") : get("ask-key")).focus();
}

function showKey(wanted) {
  get("ask-key-row").hidden = !wanted;
  get("ask-key").required = wanted;
  get("ask-forget").hidden = wanted || !sessionStorage.getItem(KEY);
}

function told(tone, text) {
  get("ask-answer").className = `answer ${tone}`;
  say("ask-answer", text);
}

function busy(now) {
  get("ask-confirm").disabled = now;
  get("ask-form").toggleAttribute("aria-busy", now);
}

async function confirm() {
  const typed = get("ask-key").value.trim();
  if (typed) sessionStorage.setItem(KEY, typed);
  const key = sessionStorage.getItem(KEY);
  const headers = { "Content-Type": "application/json", "X-Requested-With": "penstock-page" };
  if (key) headers["X-API-Key"] = key;
  busy(true);
  told("", "Asking …");
  let answered;
  let body;
  try {
    const reason = get("ask-reason").value.trim();
    answered = await fetch(`${API}/${current.path}`, { method: "POST", headers, body: JSON.stringify({ ...current.body, reason, id: current.id }) });
    body = await answered.json();
  } catch (error) {
    busy(false);
    told("critical", `No answer (${error.message}). Confirm again: it is carried out once.`);
    return;
  }
  busy(false);
  if (answered.status === 401) {
    sessionStorage.removeItem(KEY);
    showKey(true);
    told("critical", "This key is not known. Enter another one.");
    get("ask-key").focus();
  } else if (answered.ok) {
    get("ask").close();
    toast(answered.status === 202 ? "warning" : "good", `${current.label}: ${body.detail || body.status}`);
  } else {
    showKey(keyed && answered.status === 403 && !key);
    told("critical", `${body.title && answered.status !== 409 ? `${body.title}: ` : ""}${body.detail}`);
    // Refused is refused: the same question under a new id may be answered otherwise.
    if (answered.status === 409) current.id = `${current.id.slice(0, 90)}-${Math.random().toString(36).slice(2, 8)}`;
  }
}

function toast(tone, text) {
  const note = make("p", `toast ${tone}`, text);
  get("toasts").replaceChildren(note);
  setTimeout(() => note.remove(), 12_000);
}

export function prepareDialogs() {
  get("ask-form").addEventListener("submit", (event) => {
    event.preventDefault();
    confirm();
  });
  get("ask-cancel").addEventListener("click", () => get("ask").close());
  get("ask-forget").addEventListener("click", () => {
    sessionStorage.removeItem(KEY);
    showKey(keyed);
  });
}
