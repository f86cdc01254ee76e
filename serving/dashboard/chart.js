// The one chart: quality of everything that scored, with drift and promotions on the same axis.

import { REAL_TIME_MS, kind, place, quality } from "./format.js";

const uPlot = window.uPlot;
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export const LINES = [
  { key: "previous", name: "Predecessor", color: "--previous", width: 1.75, dash: [2, 5] },
  { key: "online", name: "Online model", color: "--online", width: 2 },
  { key: "challenger", name: "Challenger", color: "--challenger", width: 2, dash: [9, 5] },
  { key: "champion", name: "Served", color: "--served", width: 3.5 },
];

export const MARKERS = {
  critical: { name: "Critical drift", color: "--critical", dash: [], glyph: "diamond" },
  warning: { name: "Drift warning", color: "--warning", dash: [5, 5], glyph: "triangle" },
  promotion: { name: "Promotion", color: "--good", dash: [], glyph: "circle" },
};

const LANE = 42; // pixels above the plot: a row of names, and below it the markers' glyphs

export function glyphPath(glyph, x, y, r) {
  if (glyph === "circle") return `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`;
  if (glyph === "triangle") return `M${x} ${y - r}L${x + r} ${y + r * 0.8}L${x - r} ${y + r * 0.8}Z`;
  return `M${x} ${y - r * 1.2}L${x + r * 1.2} ${y}L${x} ${y + r * 1.2}L${x - r * 1.2} ${y}Z`;
}

/** Drift alarms and promotions as marks on the axis, oldest first. */
export function marksOf(state) {
  const marks = [];
  for (const incident of state.incidents.values()) {
    const about = `${kind(incident.kind)}${incident.feature ? ` in ${incident.feature}` : ""}`;
    const escalated = incident.escalated !== null && incident.escalated !== incident.opened;
    const level = escalated ? "warning" : incident.level;
    marks.push({ x: incident.opened, type: level, text: `${about}: ${level}` });
    if (escalated) marks.push({ x: incident.escalated, type: "critical", text: `${about}: critical` });
  }
  for (const promotion of state.promotions.values()) {
    const first = state.points.find((point) => point.generation >= promotion.generation);
    const x = promotion.x ?? first?.x;
    if (promotion.generation > 0 && x !== undefined && x !== null) {
      marks.push({ x, type: "promotion", label: promotion.version, text: `${promotion.version} was promoted` });
    }
  }
  return marks.sort((a, b) => a.x - b.x);
}

export class Chart {
  constructor(box, tip) {
    this.box = box;
    this.tip = tip;
    this.marks = [];
    this.plot = null;
    this.shape = "";
    this.onDraw = () => {};
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(box);
  }

  size() {
    return { width: Math.max(200, this.box.clientWidth), height: Math.max(120, this.box.clientHeight) };
  }

  show(state) {
    this.marks = marksOf(state);
    this.task = state.task;
    this.timed = state.timed;
    const points = state.points;
    const last = points.length ? points[points.length - 1].x : 0;
    const real = state.timed || Math.abs(last) >= REAL_TIME_MS;
    const scale = 1000; // both: milliseconds to seconds, and to rows
    const data = [points.map((p) => p.x / scale), ...LINES.map((line) => points.map((p) => p[line.key] ?? null))];
    const shape = `${real}/${state.task}`;
    if (shape !== this.shape) {
      this.plot?.destroy();
      this.plot = new uPlot(this.options(real, state.task), data, this.box);
      this.shape = shape;
    } else {
      this.plot.setData(data);
    }
  }

  options(real, task) {
    const grid = { stroke: "#1e2a3e", width: 1 };
    const font = "13px system-ui, 'DejaVu Sans', sans-serif";
    const axis = { stroke: css("--soft"), grid, ticks: { show: false }, font };
    return {
      ...this.size(),
      padding: [LANE, 34, 0, 0],
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, points: { size: 8 }, y: false },
      scales: { x: { time: real }, y: { range: (_plot, low, high) => yRange(task, low, high) } },
      axes: [
        { ...axis, space: 90, size: 30, values: real ? undefined : (_plot, ticks) => ticks.map((t) => (t === 0 ? "row 0" : t.toLocaleString("en"))) },
        { ...axis, size: 62, values: (_plot, ticks) => ticks.map((tick) => axisLabel(task, tick)) },
      ],
      series: [
        {},
        ...LINES.map((line) => ({
          label: line.name, stroke: css(line.color), width: line.width, dash: line.dash, points: { show: false }, spanGaps: false,
        })),
      ],
      hooks: { drawAxes: [(plot) => this.drawMarks(plot)], draw: [(plot) => this.onDraw(plot)], setCursor: [(plot) => this.showTip(plot)] },
    };
  }

  drawMarks(plot) {
    const { ctx, bbox } = plot;
    const ratio = devicePixelRatio;
    const y = bbox.top - 9 * ratio;
    let labelEnd = -Infinity;
    ctx.save();
    ctx.lineWidth = 1.5 * ratio;
    ctx.textAlign = "left";
    ctx.textBaseline = "middle";
    ctx.font = `600 ${12 * ratio}px system-ui, 'DejaVu Sans', sans-serif`;
    for (const mark of this.marks) {
      const x = plot.valToPos(mark.x / 1000, "x", true);
      if (x < bbox.left - 1 || x > bbox.left + bbox.width + 1) continue;
      const style = MARKERS[mark.type];
      ctx.strokeStyle = ctx.fillStyle = css(style.color);
      ctx.setLineDash(style.dash.map((length) => length * ratio));
      ctx.globalAlpha = mark.type === "warning" ? 0.4 : 0.75;
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      ctx.globalAlpha = 1;
      ctx.fill(new Path2D(glyphPath(style.glyph, x, y, 5.5 * ratio)));
      if (mark.label) {
        const text = mark.label.length > 18 ? `${mark.label.slice(0, 17)}…` : mark.label;
        const width = ctx.measureText(text).width;
        const left = Math.max(4 * ratio, Math.min(x - width / 2, bbox.left + bbox.width - width));
        if (left > labelEnd) {
          ctx.fillText(text, left, y - 18 * ratio);
          labelEnd = left + width + 12 * ratio;
        }
      }
    }
    ctx.restore();
  }

  showTip(plot) {
    const { left, idx } = plot.cursor;
    if (left === undefined || left === null || left < 0 || idx === null || idx === undefined) {
      this.tip.hidden = true;
      return;
    }
    const lines = [];
    const at = document.createElement("p");
    at.className = "at";
    at.textContent = place(plot.data[0][idx] * 1000, this.timed);
    lines.push(at);
    LINES.toReversed().forEach((line, index) => {
      const value = plot.data[LINES.length - index][idx];
      if (value === null || value === undefined) return;
      const entry = document.createElement("p");
      entry.textContent = `${line.name} ${quality(this.task, value)}`;
      entry.style.color = css(line.color);
      lines.push(entry);
    });
    for (const mark of this.marks) {
      if (Math.abs(plot.valToPos(mark.x / 1000, "x") - left) > 8) continue;
      const entry = document.createElement("p");
      entry.textContent = `${mark.text} (${place(mark.x, this.timed)})`;
      lines.push(entry);
    }
    this.tip.replaceChildren(...lines);
    this.tip.hidden = false;
    const x = plot.over.offsetLeft + left;
    const flip = x > this.box.clientWidth * 0.6;
    this.tip.style.left = flip ? "" : `${x + 16}px`;
    this.tip.style.right = flip ? `${this.box.clientWidth - x + 16}px` : "";
    this.tip.style.top = `${LANE + 8}px`;
  }
}

function yRange(task, low, high) {
  if (low === null || high === null) return task === "regression" ? [0, 1] : [0.5, 1];
  const room = Math.max((high - low) * 0.12, task === "regression" ? Math.abs(high) * 0.02 || 0.1 : 0.01);
  return [Math.max(0, low - room), task === "regression" ? high + room : Math.min(1, high + room)];
}

function axisLabel(task, value) {
  return task === "regression" ? value.toLocaleString("en", { maximumSignificantDigits: 4 }) : `${Number((value * 100).toFixed(1))} %`;
}
