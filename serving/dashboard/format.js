// Numbers, places on the axis and names, as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const large = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

export const count = (value) => whole.format(value);

export const rate = (value) => (value === 0 ? "0" : value < 10 ? value.toFixed(1) : whole.format(value));

export const number = (value) => (value === null || value === undefined ? "–" : (Math.abs(value) >= 1e5 ? large : short).format(value));

/** Quality in the task's own unit: a share in percent, or an error as it is. */
export function quality(task, value) {
  if (value === null || value === undefined) return "–";
  return task === "regression" ? short.format(value) : `${(value * 100).toFixed(1)} %`;
}

export function pValue(value) {
  if (value === null || value === undefined) return "";
  return value < 1e-4 ? `p < ${value < 1e-12 ? "1e-12" : "0.0001"}` : `p ${value.toFixed(4)}`;
}

/** Streams without a time column count rows (1000 ms each); real times are beyond 1973. */
export const REAL_TIME_MS = 1e11;

export function place(x, timed) {
  if (x === null || x === undefined) return "";
  if (timed || Math.abs(x) >= REAL_TIME_MS) return new Date(x).toISOString().slice(0, 16).replace("T", " ");
  return `row ${whole.format(Math.round(x / 1000))}`;
}

const KINDS = {
  concept: "Concept drift", covariate: "Covariate drift", prior: "Prior drift", prediction: "Prediction drift",
  schema: "Schema drift", population: "Population drift", performance: "Performance drop", fairness: "Fairness",
};

export const kind = (name) => KINDS[name] ?? name;

export function model(version, generation) {
  return version === "online" ? "online model" : version || (generation === undefined ? "" : `generation ${generation}`);
}
