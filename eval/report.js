// What the report's charts can do with a script: zoom, values under the pointer, logarithmic scales,
// other smoothing; and in a report that is being watched, loading it again without losing one's place.
// The page is whole without it (eval/plot.c draws the same charts). No library, no network.
(() => {
  "use strict";
  const side = 1000, xTicks = 5, yTicks = 4; // as in eval/plot.c
  const windows = [0, 120, 60, 30, 12]; // a running mean spans 1 / so many of the parts
  const charts = [];
  const state = { range: null, smooth: 2, log: {}, open: [], scroll: 0 };
  const key = "jepa-report:" + location.pathname;

  // ---- axes: eval/axis.c ----

  const clamp = (v, low, high) => Math.min(Math.max(v, low), high);
  const whole = (v) => Math.round(v).toLocaleString("en-US");

  function numberText(value, digits) {
    const size = Math.abs(value);
    if (value === null || !isFinite(value)) return "\u2013";
    if (value === 0) return "0";
    if (size >= 1e9 || size < 1e-4) return value.toExponential(digits - 1).replace(/\.?0+e/, "e");
    if (size >= 10 ** (digits - 1)) return whole(value);
    const text = value.toFixed(digits - 1 - Math.floor(Math.log10(size)));
    return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
  }

  // With so many digits that a momentum below 1 does not become 1.
  function valueText(value) {
    let digits = 4;
    while (digits < 9 && value < 1 && +numberText(value, digits) >= 1) digits++;
    return numberText(value, digits);
  }

  function tickText(value, step) {
    const size = Math.max(Math.abs(value), step);
    const power = (v) => Math.floor(Math.log10(v) + 1e-9);
    if (Math.abs(value) < step * 1e-6) return "0";
    if (size >= 1e7 || (step < 0.9e-4 && size < 1e-2)) return value.toExponential(clamp(power(Math.abs(value)) - power(step), 0, 6));
    if (step >= 0.999) return whole(value);
    return value.toFixed(Math.ceil(-Math.log10(step) - 1e-9));
  }

  function axisLinear(low, high, wanted, roundOut) {
    const least = Math.max(Math.abs(low), Math.abs(high)) * 1e-9;
    if (high - low <= least) {
      const around = low === 0 ? 1 : Math.abs(low) * 0.1;
      low -= around;
      high += around;
    }
    const size = (high - low) / wanted, power = 10 ** Math.floor(Math.log10(size));
    const step = power * ([1, 2, 5].find((s) => s * power >= size * (1 - 1e-9)) || 10);
    if (roundOut) {
      low = Math.floor(low / step + 1e-9) * step;
      high = Math.ceil(high / step - 1e-9) * step;
    }
    const ticks = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9 && ticks.length < 24; i++)
      ticks.push([i * step, tickText(i * step, step)]);
    return { low, high, ticks, place: (v) => (v - low) / (high - low) };
  }

  function axisLog(low, high, wanted) {
    let from = Math.log10(low), to = Math.log10(high);
    if (to - from < 0.3) [from, to] = [(from + to) / 2 - 0.15, (from + to) / 2 + 0.15];
    [low, high] = [10 ** from, 10 ** to];
    const parts = (to - from) * 3 <= wanted * 1.7 ? [1, 2, 5] : [1];
    const skip = parts.length > 1 ? 1 : Math.max(1, Math.ceil((to - from) / wanted));
    let ticks = [];
    for (let p = Math.floor(from); p <= Math.ceil(to); p++)
      for (const part of parts) {
        const tick = part * 10 ** p;
        if (p % skip === 0 && tick >= low * (1 - 1e-9) && tick <= high * (1 + 1e-9)) ticks.push([tick, tickText(tick, tick)]);
      }
    if (ticks.length < 2) ticks = axisLinear(low, high, wanted, false).ticks;
    const span = Math.log(high / low);
    return { low, high, ticks, place: (v) => (v > 0 ? Math.log(v / low) / span : NaN) };
  }

  // ---- drawing ----

  const lowOf = (s) => s.low || s.y, highOf = (s) => s.high || s.y;

  // Numbers of the parts within x0..x1, and of one more on both sides, so that lines reach the edges.
  function visible(s, x0, x1) {
    let from = 0, to = s.x.length;
    while (from < to && s.x[from] < x0) from++;
    while (to > from && s.x[to - 1] > x1) to--;
    return [from, to, Math.max(0, from - 1), Math.min(s.x.length, to + 1)];
  }

  function smoothed(s, on) {
    const span = windows[state.smooth] ? Math.floor(s.x.length / windows[state.smooth]) : 0;
    const half = on && span > 1 ? span >> 1 : 0;
    if (!half) return s.y;
    return s.y.map((_, i) => {
      let sum = 0, n = 0;
      for (let j = Math.max(0, i - half); j <= Math.min(s.x.length - 1, i + half); j++) {
        const weight = s.n ? s.n[j] : 1;
        sum += weight * s.y[j];
        n += weight;
      }
      return sum / n;
    });
  }

  function axesOf(chart) {
    const series = chart.data.series;
    let [x0, x1] = state.range || chart.full, low = Infinity, high = -Infinity, positive = Infinity;
    if (x0 === x1) [x0, x1] = [x0 - 1, x1 + 1];
    for (const s of series) {
      const [from, to] = visible(s, x0, x1);
      for (let i = from; i < to; i++) {
        low = Math.min(low, lowOf(s)[i]);
        high = Math.max(high, highOf(s)[i]);
        const least = lowOf(s)[i] > 0 ? lowOf(s)[i] : highOf(s)[i];
        if (least > 0) positive = Math.min(positive, least);
      }
    }
    if (low > high) [low, high] = [0, 1];
    const x = axisLinear(x0, x1, xTicks, false);
    if (chart.log && high > 0) return { x, y: axisLog(positive / 1.15, high * 1.15, yTicks) };
    if (chart.data.zero) [low, high] = [Math.min(low, 0), Math.max(high, 0)];
    return { x, y: axisLinear(low, high, yTicks, true) };
  }

  const round = (v) => Math.round(clamp(v, -1e6, 1e6) * 10) / 10;

  function path(kind, color, points, close) {
    let d = "", down = false;
    for (const [x, y] of points) {
      const sound = isFinite(y);
      if (sound) d += (down ? "L" : "M") + round(side * x) + " " + round(side * (1 - y));
      down = sound;
    }
    if (points.length === 1) d += "h0";
    return `<path class="${kind} c${color}" d="${d}${close ? "Z" : ""}"/>`;
  }

  function draw(chart) {
    const axes = (chart.axes = axesOf(chart)), { x, y } = axes;
    const percent = (v) => (100 * v).toFixed(3) + "%";
    let grid = "", ticks = "", under = "", over = "";
    for (const [value, label] of y.ticks) {
      const at = percent(1 - y.place(value));
      grid += `<line x1="0" x2="100%" y1="${at}" y2="${at}"/>`;
      ticks += `<text class="y" x="0" dx="-6" y="${at}" dy=".32em">${label}</text>`;
    }
    for (const [value, label] of x.ticks) ticks += `<text class="x" x="${percent(x.place(value))}" y="100%" dy="1.5em">${label}</text>`;
    for (const mark of chart.data.marks) under += `<path class="mark" d="M${round(side * x.place(mark))} 0V${side}"/>`;
    for (const s of [...chart.data.series].reverse()) {
      const [, , from, to] = visible(s, x.low, x.high);
      const points = (values) => values.slice(from, to).map((v, i) => [x.place(s.x[from + i]), y.place(v)]);
      const line = smoothed(s, chart.data.smooth), edge = chart.log ? y.low : -Infinity;
      if (s.low) {
        const up = points(s.high.map((v) => Math.max(v, edge)));
        under += path("band", s.color, up.concat(points(s.low.map((v) => Math.max(v, edge))).reverse()), true);
      } else if (line !== s.y) {
        under += path("raw", s.color, points(s.y));
      }
      over += path("line", s.color, points(line));
    }
    chart.svg.innerHTML = `<g class="grid">${grid}</g><g class="ticks">${ticks}</g>` +
      `<svg class="data" viewBox="0 0 ${side} ${side}" preserveAspectRatio="none" width="100%" height="100%">${under}${over}</svg>` +
      `<line class="base" x1="0" x2="100%" y1="100%" y2="100%"/>`;
    chart.plot.style.setProperty("--gutter", Math.max(3, ...y.ticks.map((t) => t[1].length)) + "ch");
    chart.plot.classList.toggle("zoomed", !!state.range);
    chart.drawn = true;
  }

  // Charts that are not looked at wait until they are.
  function drawSeen() {
    for (const chart of charts) {
      const box = chart.drawn || chart.plot.getBoundingClientRect();
      if (!chart.drawn && box.bottom > -300 && box.top < innerHeight + 300) draw(chart);
    }
  }

  function drawAll() {
    for (const chart of charts) chart.drawn = false;
    drawSeen();
    const reset = document.getElementById("all-steps");
    if (reset) reset.disabled = !state.range;
  }

  // ---- the range of steps, which all charts share ----

  function everything() {
    return [Math.min(...charts.map((c) => c.full[0])), Math.max(...charts.map((c) => c.full[1]))];
  }

  function setRange(x0, x1) {
    const [low, high] = everything(), least = Math.max((high - low) * 1e-4, 1e-9);
    const width = clamp(x1 - x0, least, high - low);
    x0 = clamp(x0, low, high - width);
    state.range = width >= (high - low) * 0.999 ? null : [x0, x0 + width];
    drawAll();
    save();
  }

  function zoom(factor, at) {
    const [x0, x1] = state.range || everything(), middle = at === undefined ? (x0 + x1) / 2 : at;
    setRange(middle - (middle - x0) * factor, middle + (x1 - middle) * factor);
  }

  function pan(share) {
    const [x0, x1] = state.range || everything();
    setRange(x0 + share * (x1 - x0), x1 + share * (x1 - x0));
  }

  function reset() {
    state.range = null;
    drawAll();
    save();
  }

  // ---- pointers ----

  const xAt = (chart, share) => {
    const { low, high } = (chart.axes || (chart.axes = axesOf(chart))).x;
    return low + share * (high - low);
  };

  function nearest(s, x) {
    let low = 0, high = s.x.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (s.x[middle] < x) low = middle + 1;
      else high = middle;
    }
    return low > 0 && x - s.x[low - 1] < s.x[low] - x ? low - 1 : low;
  }

  function element(parent, tag, name, text) {
    const e = parent.appendChild(document.createElement(tag));
    if (name) e.className = name;
    if (text !== undefined) e.textContent = text;
    return e;
  }

  function unpoint(chart) {
    if (chart.cursor) chart.cursor.remove();
    if (chart.tip) chart.tip.remove();
    chart.cursor = chart.tip = null;
  }

  function point(chart, share) {
    const x = xAt(chart, share), first = chart.data.series[0], at = first.x[nearest(first, x)];
    const place = chart.axes.x.place(at);
    charts.forEach(unpoint);
    chart.cursor = element(chart.plot, "div", "cursor");
    chart.cursor.style.left = 100 * clamp(place, 0, 1) + "%";
    const tip = (chart.tip = element(chart.plot, "div", "tip"));
    element(tip, "div").append("step " + (Number.isInteger(at) ? whole(at) : "\u2248 " + whole(at)));
    for (const s of chart.data.series) {
      const i = nearest(s, at), row = element(tip, "div", "c" + s.color);
      element(row, "i");
      row.append(s.name + " ");
      element(row, "b", "", valueText(s.y[i]));
      if (s.low && s.n[i] > 1) element(row, "span", "", ` ${valueText(s.low[i])} to ${valueText(s.high[i])}`);
    }
    const room = chart.plot.clientWidth, left = clamp(place, 0, 1) * room;
    const beside = left < room / 2 ? left + 12 : left - 12 - tip.offsetWidth;
    tip.style.left = clamp(beside, -8, Math.max(-8, room + 8 - tip.offsetWidth)) + "px";
  }

  const pointers = new Map(); // of the chart that is touched: id to x, as a share of the plot
  let begun = null; // where a mouse or two fingers began

  function listen(chart) {
    const plot = chart.plot;
    const share = (e) => {
      const box = plot.getBoundingClientRect();
      return (e.clientX - box.left) / box.width;
    };
    plot.addEventListener("pointerdown", (e) => {
      if (e.button) return;
      pointers.set(e.pointerId, share(e));
      if (e.pointerType === "mouse") plot.setPointerCapture(e.pointerId);
      begun = { x: share(e), range: state.range || everything(), shift: e.shiftKey, touch: e.pointerType !== "mouse", places: [...pointers.values()] };
      if (begun.touch) point(chart, share(e));
    });
    plot.addEventListener("pointermove", (e) => {
      const x = share(e);
      if (pointers.has(e.pointerId)) pointers.set(e.pointerId, x);
      if (begun && pointers.size === 2) { // two fingers: what lies under them stays under them
        const [a, b] = begun.places, [c, d] = [...pointers.values()], width = begun.range[1] - begun.range[0];
        if (b === undefined || Math.abs(c - d) < 0.02) return;
        const scale = Math.abs(a - b) / Math.abs(c - d), middle = begun.range[0] + ((a + b) / 2) * width;
        unpoint(chart);
        setRange(middle - ((c + d) / 2) * width * scale, middle + (1 - (c + d) / 2) * width * scale);
      } else if (begun && pointers.size === 1 && !begun.touch) {
        if (begun.shift && state.range) {
          const by = (begun.x - x) * (begun.range[1] - begun.range[0]);
          setRange(begun.range[0] + by, begun.range[1] + by);
        } else if (!begun.shift) {
          const [a, b] = [begun.x, x].map((v) => clamp(v, 0, 1)).sort((p, q) => p - q);
          chart.chosen = chart.chosen || element(plot, "div", "chosen");
          chart.chosen.style.left = 100 * a + "%";
          chart.chosen.style.width = 100 * (b - a) + "%";
        }
      } else if (e.pointerType === "mouse" || begun) {
        point(chart, clamp(x, 0, 1));
      }
    });
    const end = (e) => {
      const x = share(e), one = pointers.size === 1;
      pointers.delete(e.pointerId);
      if (chart.chosen) chart.chosen.remove();
      if (begun && chart.chosen && one && e.type === "pointerup" && Math.abs(x - begun.x) * plot.clientWidth > 6) {
        const [a, b] = [begun.x, x].map((v) => xAt(chart, clamp(v, 0, 1))).sort((p, q) => p - q);
        setRange(a, b);
      }
      chart.chosen = null;
      begun = pointers.size ? begun : null;
    };
    plot.addEventListener("pointerup", end);
    plot.addEventListener("pointercancel", end);
    plot.addEventListener("pointerleave", (e) => {
      if (e.pointerType === "mouse") unpoint(chart); // what a finger has pointed at stays
    });
    plot.addEventListener("dblclick", reset);
    plot.addEventListener("wheel", (e) => {
      if (e.ctrlKey) zoom(Math.exp(clamp(e.deltaY, -60, 60) / 120), xAt(chart, share(e)));
      else if (state.range && Math.abs(e.deltaX) > Math.abs(e.deltaY)) pan(e.deltaX / plot.clientWidth);
      else return;
      e.preventDefault();
    }, { passive: false });
    plot.tabIndex = 0;
    plot.addEventListener("keydown", (e) => {
      const act = { ArrowLeft: () => pan(-0.1), ArrowRight: () => pan(0.1), "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), 0: reset, Escape: reset, l: () => toggleLog(chart) }[e.key];
      if (!act || e.ctrlKey || e.metaKey || e.altKey) return;
      act();
      e.preventDefault();
    });
  }

  function toggleLog(chart) {
    if (chart.button.disabled) return;
    chart.log = !chart.log;
    state.log[chart.name] = chart.log;
    chart.button.setAttribute("aria-pressed", chart.log);
    draw(chart);
    save();
  }

  // ---- the page ----

  function save() {
    state.scroll = scrollY;
    state.open = [...document.querySelectorAll("details")].map((d) => d.open);
    try { sessionStorage.setItem(key, JSON.stringify(state)); } catch { /* not kept then */ }
  }

  function restore() {
    let kept = null;
    try { kept = JSON.parse(sessionStorage.getItem(key)); } catch { /* nothing kept */ }
    if (!kept) return;
    Object.assign(state, kept);
    document.querySelectorAll("details").forEach((d, i) => { d.open = !!state.open[i]; });
    if (!location.hash) scrollTo(0, state.scroll);
  }

  function controls() {
    const place = document.getElementById("controls");
    if (!place || !charts.length) return;
    const label = element(place, "label", "", "Smoothing"), slider = element(label, "input");
    Object.assign(slider, { type: "range", min: 0, max: windows.length - 1, step: 1, value: state.smooth });
    slider.addEventListener("input", () => {
      state.smooth = +slider.value;
      drawAll();
      save();
    });
    for (const [text, title, act] of [["\u2212", "Show more steps", () => zoom(2)], ["+", "Show fewer steps", () => zoom(0.5)], ["All steps", "Show all steps", reset]]) {
      const button = element(place, "button", "", text);
      button.title = title;
      button.addEventListener("click", act);
      if (act === reset) Object.assign(button, { id: "all-steps", disabled: !state.range });
    }
    element(place, "small", "", "Drag to zoom, shift and drag to move, double click for all steps.");
  }

  function start() {
    for (const figure of document.querySelectorAll(".chart")) {
      const json = figure.querySelector("script"), plot = figure.querySelector(".plot");
      if (!json) continue;
      const data = JSON.parse(json.textContent), caption = figure.querySelector("figcaption b").textContent;
      const ends = data.series.flatMap((s) => [s.x[0], s.x[s.x.length - 1]]);
      const chart = { plot, data, svg: plot.querySelector("svg"), log: data.log, name: figure.id + caption, full: [Math.min(...ends), Math.max(...ends)], drawn: true };
      chart.button = element(figure, "button", "", "log");
      chart.button.title = "Logarithmic scale";
      chart.button.disabled = !data.series.some((s) => highOf(s).some((v) => v > 0));
      chart.button.addEventListener("click", () => toggleLog(chart));
      charts.push(chart);
    }
    restore();
    controls();
    for (const chart of charts) {
      if (chart.name in state.log) chart.log = state.log[chart.name];
      chart.button.setAttribute("aria-pressed", chart.log);
      listen(chart);
    }
    if (state.range || state.smooth !== 2 || Object.keys(state.log).length) drawAll();
    addEventListener("scroll", drawSeen, { passive: true });
    addEventListener("resize", drawSeen);
    addEventListener("pagehide", save);
  }

  // Not while something is being dragged, or nobody looks.
  function watch(seconds) {
    setInterval(() => {
      if (begun || document.hidden) return;
      save();
      location.reload();
    }, 1000 * seconds);
  }

  start();
  const seconds = +document.body.dataset.refresh;
  if (seconds > 0) watch(seconds);
})();
