/* Charts that pages declare:

   <figure class="chart" data-kind="line|area|bars|heatmap" data-unit="ms" data-height="220"
           [data-src="/portal/…/x.json"] [data-live="/portal/…/events"] [data-stacked]
           [data-window="3600"]>
     <figcaption>Title</figcaption>
     [<script type="application/json">{…}</script>]
     <div class="plot"></div>
   </figure>

   Data of line, area and bars:
     {"x": [UNIX seconds or numbers or texts], "series": [{"label": "p99", "values": [1, null, …],
      "colour": 1-6, "unit": "ms", "dash": true, "kind": "line|area|bars"}],
      "x_kind": "time" (the default), "number" or "text", "marks": [{"x": …, "label": "v4"}],
      "min": 0, "max": 1, "log": false}
   Data of a heat map: {"x": [UNIX seconds or texts], "y": [texts, from below],
      "values": [[a row of numbers for each y]], "label": "requests"}
   Live (server-sent events): "data" replaces the data; "point" appends {"x": …, "values": [one for
   each series]}. Colours are the properties --series-1 … --series-6 and --heat-0, --heat-1. */
"use strict";

(() => {
  const charts = new Map();
  const MAX_POINTS = 5000;
  const MAX_TABLE_ROWS = 200;
  const number = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
  const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
  const clock = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  /* Ticks of time (uPlot: from a step on, a text, and what is below it where the year or the day begins). */
  const ticks = [
    [31536000, "{YYYY}", null, null, null, null, null, null, 1],
    [2419200, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
    [86400, "{D} {MMM}", "\n{YYYY}", null, null, null, null, null, 1],
    [60, "{HH}:{mm}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}", null, null, null, 1],
    [0.001, "{HH}:{mm}:{ss}", "\n{D} {MMM} {YYYY}", null, "\n{D} {MMM}", null, null, null, 1],
  ];
  const property = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const text = (value, unit) =>
    value === null || value === undefined ? "–" : number.format(value) + (unit ? ` ${unit}` : "");
  const moment = (data, value) =>
    (data.x_kind ?? "time") === "time" && typeof value === "number"
      ? clock.format(new Date(value * 1000))
      : String(value);
  const create = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  };
  /* Values with a gap on both sides: a line would not show them. */
  const alone = (values) => [...values.keys()].filter((at) =>
    typeof values[at] === "number" && typeof values[at - 1] !== "number" && typeof values[at + 1] !== "number");
  const alpha = (colour, share) => {
    const canvas = document.createElement("canvas").getContext("2d");
    canvas.fillStyle = colour;
    const hex = canvas.fillStyle;
    const part = (at) => parseInt(hex.slice(at, at + 2), 16);
    return `rgb(${part(1)} ${part(3)} ${part(5)} / ${share})`;
  };

  class Chart {
    constructor(figure) {
      this.figure = figure;
      this.plot = figure.querySelector(".plot");
      this.unit = figure.dataset.unit ?? "";
      this.height = Number(figure.dataset.height) || 220;
      this.data = null;
      this.drawn = null;
      this.title = figure.querySelector("figcaption")?.firstChild?.textContent.trim() ?? "Chart";
      this.plot.setAttribute("role", "img");
      this.resize = new ResizeObserver(() => this.fit());
      this.resize.observe(this.plot);
    }

    async start() {
      const given = this.figure.querySelector('script[type="application/json"]');
      try {
        if (given) this.show(JSON.parse(given.textContent));
        else if (this.figure.dataset.src) await this.fetch();
      } catch {
        this.say("The figures could not be loaded. Reload the page to try again.");
      }
      if (this.figure.dataset.live) this.listen();
    }

    async fetch() {
      const answer = await fetch(this.figure.dataset.src, { headers: { accept: "application/json" } });
      if (!answer.ok) throw new Error(String(answer.status));
      this.show(await answer.json());
    }

    listen() {
      this.source = htmx.createEventSource(this.figure.dataset.live);
      this.source.addEventListener("data", (event) => this.show(JSON.parse(event.data)));
      this.source.addEventListener("point", (event) => this.append(JSON.parse(event.data)));
    }

    append(point) {
      if (!this.data?.series) return;
      const { x, series } = this.data;
      if (x.length && point.x <= x[x.length - 1]) {
        if (point.x !== x[x.length - 1]) return;
        series.forEach((one, at) => { one.values[x.length - 1] = point.values[at] ?? null; });
      } else {
        x.push(point.x);
        series.forEach((one, at) => one.values.push(point.values[at] ?? null));
      }
      const span = Number(this.figure.dataset.window) || Infinity;
      while (x.length > MAX_POINTS || (x.length > 1 && x[x.length - 1] - x[0] > span)) {
        x.shift();
        series.forEach((one) => one.values.shift());
      }
      this.show(this.data);
    }

    show(data) {
      this.data = data;
      const empty = !data.x?.length;
      if (empty) { this.say("Nothing in this time yet."); return; }
      const same = this.drawn && this.shape === this.shapeOf(data);
      if (same) this.drawn.setData(this.columns());
      else this.draw();
      this.describe();
    }

    shapeOf(data) {
      return JSON.stringify([data.x_kind, data.marks, data.log, data.min, data.max,
        data.x_kind === "text" && data.x, data.series?.map((one) => [one.label, one.unit, one.kind])]);
    }

    say(message) {
      this.clear();
      this.figure.querySelector("details")?.remove();
      this.figure.querySelector(".legend")?.remove();
      this.plot.replaceChildren(create("p", { class: "nothing" }, message));
      this.plot.removeAttribute("role");
    }

    clear() {
      this.drawn?.destroy?.();
      this.drawn = null;
      this.plot.replaceChildren();
      this.plot.setAttribute("role", "img");
    }

    fit() {
      const width = this.plot.clientWidth;
      if (!this.data?.x?.length || !width || width === this.width) return;
      this.width = width;
      if (this.drawn) this.drawn.setSize({ width, height: this.height });
      else this.draw();
    }

    redraw() { if (this.data?.x?.length) this.draw(); }

    draw() {
      this.clear();
      this.width = this.plot.clientWidth;
      if (!this.width) return;
      if (this.figure.dataset.kind === "heatmap") this.heat();
      else this.lines();
    }

    /* ---- line, area, bars ---- */

    columns() {
      const { x, series, x_kind: kind } = this.data;
      const place = kind === "text" ? x.map((_, at) => at) : x;
      if (!("stacked" in this.figure.dataset)) return [place, ...series.map((one) => one.values)];
      const sums = x.map(() => 0);
      const stacked = series.map((one) =>
        one.values.map((value, at) => { sums[at] += value ?? 0; return sums[at]; }));
      return [place, ...stacked.reverse()];
    }

    lines() {
      const data = this.data;
      const stacked = "stacked" in this.figure.dataset;
      const kind = this.figure.dataset.kind ?? "line";
      const ink = property("--chart-ink");
      const grid = { stroke: property("--chart-grid"), width: 1 };
      const font = `11px ${property("--font")}`;
      const axis = { stroke: ink, grid, font, ticks: { show: false }, gap: 6 };
      const order = stacked ? data.series.map((_, at) => at).reverse() : data.series.map((_, at) => at);
      const series = order.map((at) => {
        const one = data.series[at];
        const how = one.kind ?? kind;
        const colour = property(`--series-${one.colour ?? (at % 6) + 1}`);
        return {
          label: one.label,
          stroke: colour,
          width: how === "bars" ? 0 : 1.75,
          dash: one.dash ? [5, 4] : undefined,
          fill: how === "line" ? undefined : alpha(colour, how === "bars" || stacked ? 0.75 : 0.14),
          paths: how === "bars" ? uPlot.paths.bars({ size: [0.7, 48, 1], radius: 0.12 }) : undefined,
          points: { show: how !== "bars", size: 5, fill: colour, filter: (plot, index) => alone(plot.data[index]) },
          spanGaps: false,
        };
      });
      const time = (data.x_kind ?? "time") === "time";
      const bars = series.some((one) => one.width === 0);
      const step = data.x.length > 1 && data.x_kind !== "text"
        ? (data.x[data.x.length - 1] - data.x[0]) / (data.x.length - 1) : 1;
      const options = {
        width: this.width,
        height: this.height,
        legend: { show: false },
        cursor: { y: false, drag: { setScale: false }, points: { size: 7 } },
        scales: {
          x: { time, range: bars ? (_, low, high) => [low - step / 2, high + step / 2] : undefined },
          y: {
            distr: data.log ? 3 : 1,
            range: data.log ? undefined : (_, low, high) => {
              const from = data.min ?? Math.min(0, low ?? 0);
              const to = data.max ?? (high > from ? high * 1.06 : from + 1);
              return [from, to];
            },
          },
        },
        axes: [
          { ...axis, grid: { show: false }, ...(time ? { values: ticks } : {}),
            ...(data.x_kind === "text" ? {
              splits: () => data.x.map((_, at) => at),
              values: (_, places) => places.map((at) => data.x[at] ?? ""),
            } : {}) },
          { ...axis, size: 56, values: (_, values) => values.map((value) =>
            value === null ? "" : compact.format(value) + (this.unit === "%" ? " %" : "")) },
        ],
        series: [{}, ...series],
        hooks: {
          setCursor: [(plot) => this.point(plot.cursor.idx)],
          drawAxes: [(plot) => this.marks(plot)],
        },
      };
      this.shape = this.shapeOf(data);
      this.drawn = new uPlot(options, this.columns(), this.plot);
    }

    marks(plot) {
      const { ctx, bbox } = plot;
      for (const mark of this.data.marks ?? []) {
        const at = plot.valToPos(mark.x, "x", true);
        if (at < bbox.left || at > bbox.left + bbox.width) continue;
        ctx.save();
        ctx.strokeStyle = property("--line-strong");
        ctx.fillStyle = property("--chart-ink");
        ctx.setLineDash([4, 4]);
        ctx.beginPath();
        ctx.moveTo(at, bbox.top);
        ctx.lineTo(at, bbox.top + bbox.height);
        ctx.stroke();
        ctx.font = `${11 * devicePixelRatio}px ${property("--font")}`;
        ctx.textAlign = "left";
        ctx.textBaseline = "top";
        ctx.fillText(mark.label, at + 4 * devicePixelRatio, bbox.top + 2 * devicePixelRatio);
        ctx.restore();
      }
    }

    point(index) {
      const data = this.data;
      if (!this.legend) return;
      const at = index ?? data.x.length - 1;
      data.series.forEach((one, place) => {
        this.legend[place].textContent = text(one.values[at], one.unit ?? this.unit);
      });
      this.when.textContent = index === null || index === undefined ? "" : moment(data, data.x[at]);
    }

    /* ---- heat map ---- */

    heat() {
      const { x, y, values } = this.data;
      const ratio = devicePixelRatio || 1;
      const canvas = create("canvas", { class: "heat" });
      canvas.width = this.width * ratio;
      canvas.height = this.height * ratio;
      this.plot.append(canvas);
      const ctx = canvas.getContext("2d");
      ctx.scale(ratio, ratio);
      ctx.font = `11px ${property("--font")}`;
      const left = Math.max(...y.map((label) => ctx.measureText(label).width)) + 10;
      const bottom = 20;
      const width = (this.width - left) / x.length;
      const height = (this.height - bottom) / y.length;
      const most = Math.max(1e-12, ...values.flat().map((value) => value ?? 0));
      const mix = this.mixer();
      values.forEach((row, at) => row.forEach((value, column) => {
        ctx.fillStyle = value ? mix(Math.sqrt(value / most)) : mix(0);
        ctx.fillRect(left + column * width, (y.length - 1 - at) * height,
          Math.max(1, width - 1), Math.max(1, height - 1));
      }));
      ctx.fillStyle = property("--chart-ink");
      ctx.textBaseline = "middle";
      const every = Math.max(1, Math.ceil(14 / height));
      y.forEach((label, at) => {
        if (at % every === 0) ctx.fillText(label, 0, (y.length - 0.5 - at) * height);
      });
      ctx.textBaseline = "alphabetic";
      const label = (value) => typeof value === "number"
        ? new Date(value * 1000).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" }) : value;
      const apart = Math.max(1, Math.ceil(64 / width));
      for (let at = 0; at < x.length; at += apart) {
        const from = left + at * width;
        // One that would be cut at the edge says less than none.
        if (from + ctx.measureText(label(x[at])).width <= this.width) ctx.fillText(label(x[at]), from, this.height - 4);
      }
      canvas.addEventListener("mousemove", (event) => {
        const column = Math.floor((event.offsetX - left) / width);
        const row = y.length - 1 - Math.floor(event.offsetY / height);
        const value = values[row]?.[column];
        canvas.title = value === undefined ? ""
          : `${moment(this.data, x[column])}, ${y[row]}: ${text(value, this.data.label ?? this.unit)}`;
      });
      this.shape = null;
    }

    mixer() {
      const ends = ["--heat-0", "--heat-1"].map((name) => {
        const canvas = document.createElement("canvas").getContext("2d");
        canvas.fillStyle = property(name);
        return [1, 3, 5].map((at) => parseInt(canvas.fillStyle.slice(at, at + 2), 16));
      });
      return (share) => {
        const part = (at) => Math.round(ends[0][at] + (ends[1][at] - ends[0][at]) * share);
        return `rgb(${part(0)} ${part(1)} ${part(2)})`;
      };
    }

    /* ---- in words ---- */

    describe() {
      const { data } = this;
      const open = this.figure.querySelector(":scope > details")?.open ?? false;
      this.figure.querySelector(":scope > details")?.remove();
      this.figure.querySelector(":scope > .legend")?.remove();
      this.legend = null;
      if (data.series) {
        const last = data.series.map((one) => `${one.label} ${text(one.values.at(-1), one.unit ?? this.unit)}`);
        this.plot.setAttribute("aria-label", `${this.title}. Last: ${last.join(", ")}. The table below has the figures.`);
        this.keys();
      } else {
        this.plot.setAttribute("aria-label", `${this.title}. The table below has the figures.`);
      }
      const details = create("details", {}, create("summary", {}, "Show as a table"));
      details.open = open;
      const fill = () => {
        if (!details.open || details.querySelector("table")) return;
        details.append(create("div", { class: "table-box", tabindex: "0", role: "region", "aria-label": this.title }, this.table()));
      };
      details.addEventListener("toggle", fill);
      this.figure.append(details);
      fill();
    }

    keys() {
      const list = create("ul", { class: "legend" });
      this.legend = this.data.series.map((one, at) => {
        const value = create("b");
        const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
        svg.setAttribute("viewBox", "0 0 10 10");
        svg.setAttribute("aria-hidden", "true");
        const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
        for (const [name, given] of [["cx", 5], ["cy", 5], ["r", 5], ["class", `fill-${one.colour ?? (at % 6) + 1}`]]) dot.setAttribute(name, given);
        svg.append(dot);
        list.append(create("li", {}, svg, one.label, value));
        return value;
      });
      this.when = create("li");
      list.append(this.when);
      this.plot.after(list);
      this.point(null);
    }

    table() {
      const { data } = this;
      const heads = data.series ? data.series.map((one) => one.label) : data.y;
      const column = (at) => data.series ? data.series[at].values : data.values[at];
      const from = Math.max(0, data.x.length - MAX_TABLE_ROWS);
      const head = create("thead", {}, create("tr", {}, create("th", { scope: "col" }, "Time"),
        ...heads.map((label) => create("th", { scope: "col", class: "number" }, label))));
      if (data.x_kind && data.x_kind !== "time") head.querySelector("th").textContent = data.x_label ?? "Value";
      const rows = data.x.slice(from).map((value, offset) => create("tr", {},
        create("th", { scope: "row" }, moment(data, value)),
        ...heads.map((_, at) => create("td", { class: "number" },
          text(column(at)[from + offset], data.series?.[at].unit ?? this.unit)))));
      return create("table", {}, head, create("tbody", {}, ...rows.reverse()));
    }

    end() {
      this.source?.close();
      this.resize.disconnect();
      this.drawn?.destroy?.();
    }
  }

  const prepare = (root) => {
    for (const [figure, chart] of charts) {
      if (!figure.isConnected) { chart.end(); charts.delete(figure); }
    }
    const found = [...(root.querySelectorAll?.("figure.chart") ?? [])];
    if (root.matches?.("figure.chart")) found.push(root);
    for (const figure of found) {
      if (charts.has(figure)) continue;
      const chart = new Chart(figure);
      charts.set(figure, chart);
      chart.start();
    }
  };

  document.addEventListener("DOMContentLoaded", () => prepare(document.body));
  document.addEventListener("htmx:load", (event) => prepare(event.detail.elt));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const chart of charts.values()) chart.redraw();
  });
})();
