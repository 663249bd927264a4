"use strict";
// The page already holds the tables; this script sorts them, switches the metric and draws the plots.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  // Plotly interprets some HTML in its labels, so names from the run are escaped.
  const text = (value) => String(value).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const shown = (value, digits = 3) => (value === null ? "—" : value.toFixed(digits).replace("-", "−"));
  const cut = (value, most) => (value.length > most ? value.slice(0, most - 1) + "…" : value);
  const make = (tag, fields = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), fields);
    element.append(...children);
    return element;
  };
  const state = { metric: data.metric };

  // ---- tables ------------------------------------------------------------------------------------------------
  const keyOf = (row, column, kind) => {
    const given = row.cells[column]?.dataset.sort ?? row.cells[column]?.textContent ?? "";
    if (kind === "text") return given.trim();
    const number = parseFloat(given.replace(/,/g, ""));
    return Number.isNaN(number) ? null : number;
  };
  const sort = (button) => {
    const heading = button.closest("th");
    const table = heading.closest("table");
    const now = heading.getAttribute("aria-sort");
    const next = now ? (now === "ascending" ? "descending" : "ascending") : button.dataset.first;
    all("th[aria-sort]", table).forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", next);
    const sign = next === "ascending" ? 1 : -1;
    const rows = [...table.tBodies[0].rows].map((row) => [keyOf(row, heading.cellIndex, button.dataset.kind), row]);
    const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b);
    // Rows without a number stay at the end in either direction.
    rows.sort(([a], [b]) => (a === null || b === null ? (a === null) - (b === null) : sign * compare(a, b)));
    table.tBodies[0].append(...rows.map(([, row]) => row));
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("table.sortable thead button");
    if (button) sort(button);
  });

  const chooseMetric = (name) => {
    state.metric = name;
    all("section.board").forEach((board) => {
      const rankings = all(".ranking", board);
      const computed = rankings.some((table) => table.dataset.metric === name);
      const now = computed ? name : rankings.find((table) => "leading" in table.dataset)?.dataset.metric;
      all(".by-metric", board).forEach((table) => { table.hidden = table.dataset.metric !== now; });
      const note = board.querySelector(".no-metric");
      if (note) note.hidden = computed;
    });
    figures.filter((figure) => ["forest", "learning", "cost"].includes(figure.dataset.plot)).forEach(draw);
  };
  const chooser = document.getElementById("metric");
  if (chooser) {
    if (state.metric) chooser.value = state.metric;
    chooser.addEventListener("change", () => chooseMetric(chooser.value));
  }
  all("[data-choices]").forEach((group) => {
    const select = group.querySelector("select"); // its own select precedes those of nested groups
    select.addEventListener("change", () => {
      const choices = all("[data-choice]", group).filter((choice) => choice.parentElement.closest("[data-choices]") === group);
      choices.forEach((choice) => { choice.hidden = choice.dataset.choice !== select.value; });
    });
  });

  // ---- plots -------------------------------------------------------------------------------------------------
  const colour = (index) => css(`--c${index % 8}`);
  const toneOf = (backbone) => colour(Math.max(data.backbones.indexOf(backbone), 0));
  const dashes = ["solid", "dash", "dot", "dashdot", "longdash"];
  const settings = {
    displaylogo: false, responsive: false, showTips: false, modeBarButtons: [["toImage"]],
  };
  const base = (height) => ({
    height, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", autosize: true,
    font: { family: getComputedStyle(document.body).fontFamily, size: 12.5, color: css("--ink") },
    hoverlabel: { align: "left", bgcolor: css("--sheet"), bordercolor: css("--line"), font: { color: css("--ink") } },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--faint"), activecolor: css("--accent") },
    margin: { l: 56, r: 12, t: 30, b: 46 }, dragmode: false,
  });
  const axis = (title, more = {}) => ({
    title: { text: title, standoff: 8 }, gridcolor: css("--line"), zeroline: false, linecolor: css("--line"),
    automargin: true, fixedrange: true, ...more,
  });
  const unit = (title, more = {}) => axis(title, { range: [-0.01, 1.01], dtick: 0.25, ...more });
  const chosenSet = (figure, sets) => sets[Number(figure.querySelector("select.set")?.value ?? 0)];
  const withTag = (model) => model.name + (model.tag ? ` (${model.tag})` : "");
  const small = (canvas) => canvas.clientWidth < 560;
  const legend = { orientation: "h", x: 0, xanchor: "left", y: -0.16, yanchor: "top", itemsizing: "constant" };
  const square = (canvas, lines) => {
    const rows = Math.ceil(lines / (small(canvas) ? 1 : 2));
    return { ...base(Math.min(canvas.clientWidth, 470) + 30 + 20 * rows), margin: { l: 56, r: 12, t: 12, b: 46 } };
  };

  // The selected metric, or the section's primary one if no method has it.
  const metricOf = (section, has) => (has(state.metric) ? state.metric : section.primary);
  const withInterval = ([value, low, high], digits) => shown(value, digits) + (low === null ? "" : ` (95 % CI ${shown(low, digits)} to ${shown(high, digits)})`);
  const bars = (numbers, tone) => ({
    type: "data", symmetric: false, color: tone, thickness: 1.4, width: 0,
    array: numbers.map(([value, , high]) => (high === null ? 0 : high - value)),
    arrayminus: numbers.map(([value, low]) => (low === null ? 0 : value - low)),
  });

  const padded = (numbers) => {
    const limits = numbers.flat().filter((value) => value !== null);
    const pad = (Math.max(...limits) - Math.min(...limits)) * 0.06 || 0.05;
    return [Math.min(...limits) - pad, Math.max(...limits) + pad];
  };

  function forest(canvas, section) {
    const { rows, sets } = section.forest;
    const chosen = metricOf(section, (name) => sets.some((set) => set.points.some((point) => point[1] === name)));
    const metric = data.metrics[chosen];
    const panels = sets
      .map((set) => ({ split: set.split, points: set.points.filter((point) => point[1] === chosen) }))
      .filter((set) => set.points.length);
    if (!panels.length) return null;
    const across = Math.max(1, Math.min(panels.length, Math.floor((canvas.clientWidth - 150) / 210)));
    const down = Math.ceil(panels.length / across);
    const most = Math.max(...rows.map((_, r) => Math.max(...panels.map((set) => set.points.filter((p) => p[0] === r).length), 1)));
    const tall = Math.max(36, 16 + 9 * Math.min(most, 12));
    const panelHeight = rows.length * tall + 62;
    const layout = { ...base(down * panelHeight + 40), showlegend: false, shapes: [], annotations: [] };
    layout.margin = { l: 8, r: 12, t: 34, b: 44 };
    const range = padded([...panels.flatMap((set) => set.points.map((point) => point.slice(2, 5))), metric.chance]);
    const traces = [];
    panels.forEach((set, index) => {
      const key = index ? index + 1 : "";
      const column = index % across;
      const line = Math.floor(index / across);
      const gap = 0.035;
      const wide = (1 - gap * (across - 1)) / across;
      const high = panelHeight / (down * panelHeight);
      const domain = [1 - (line + 1) * high + (down > 1 ? 50 / (down * panelHeight) : 0), 1 - line * high];
      layout[`xaxis${key}`] = axis(line === down - 1 || down === 1 ? text(metric.title) : "", {
        domain: [column * (wide + gap), column * (wide + gap) + wide], range, anchor: `y${key}`, nticks: 6 });
      const most = small(canvas) ? 16 : 34;
      layout[`yaxis${key}`] = axis("", {
        domain, anchor: `x${key}`, range: [rows.length - 0.5, -0.5], tickvals: rows.map((_, r) => r), showticklabels: column === 0,
        ticktext: rows.map((row) => `<b>${text(cut(row.backbone, most))}</b><br>${text(cut(row.method, most))}`), gridcolor: "rgba(0,0,0,0)" });
      layout.annotations.push({ text: `<b>${text(set.split)}</b>`, xref: `x${key} domain`, yref: `y${key} domain`, x: 0, y: 1,
        xanchor: "left", yanchor: "bottom", showarrow: false, font: { color: css("--accent"), size: 13 } });
      if (metric.chance !== null) layout.shapes.push({ type: "line", xref: `x${key}`, yref: `y${key} domain`, x0: metric.chance,
        x1: metric.chance, y0: 0, y1: 1, line: { color: css("--faint"), dash: "dot", width: 1 } });
      rows.forEach((row, r) => {
        const own = set.points.filter((point) => point[0] === r);
        if (!own.length) return;
        const tone = toneOf(row.backbone);
        const step = own.length > 1 ? Math.min(0.24, 0.7 / (own.length - 1)) : 0;
        traces.push({
          type: "scatter", mode: "markers", xaxis: `x${key}`, yaxis: `y${key}`,
          x: own.map((p) => p[2]), y: own.map((_, i) => r + (i - (own.length - 1) / 2) * step),
          marker: { color: tone, size: own.length > 6 ? 5 : 7.5 },
          error_x: { type: "data", symmetric: false, array: own.map((p) => (p[4] === null ? 0 : p[4] - p[2])),
            arrayminus: own.map((p) => (p[3] === null ? 0 : p[2] - p[3])), color: tone, thickness: 1.6, width: 0 },
          hovertemplate: "%{text}<extra></extra>",
          text: own.map((p) => `<b>${text(row.backbone)}</b> · ${text(row.method)}<br>${text(p[5])}${p[5] ? "<br>" : ""}${text(metric.title)} ${withInterval(p.slice(2, 5), metric.digits)}`),
        });
      });
    });
    return [traces, layout];
  }

  function roc(canvas, section, figure) {
    const set = chosenSet(figure, section.roc);
    const [kind, name] = (figure.querySelector("select.view")?.value ?? "class:0").split(/:(.*)/s);
    const models = kind === "model" ? [set.models[Number(name)]].filter(Boolean) : set.models;
    const lines = models.flatMap((model) => model.lines
      .filter((line) => kind === "model" || line.name === classesOf(set)[Number(name)])
      .map((line) => ({ line, label: kind === "model" ? line.name : withTag(model) })));
    const traces = lines.map(({ line, label }, index) => ({
      type: "scatter", mode: "lines", x: line.x, y: line.y, name: text(cut(label, small(canvas) ? 38 : 44)),
      line: { color: colour(index), width: 2.2, dash: dashes[Math.floor(index / 8) % dashes.length] },
      hovertemplate: `<b>${text(label)}</b><br>${text(line.name)}: ${line.positive} positive, ${line.negative} negative<br>sensitivity %{y:.2f} at 1 − specificity %{x:.2f}<extra></extra>`,
    }));
    const layout = { ...square(canvas, lines.length), showlegend: true, legend,
      xaxis: unit("1 − specificity", { scaleanchor: "y", constrain: "domain" }),
      yaxis: unit("Sensitivity", { constrain: "domain" }),
      shapes: [{ type: "line", x0: 0, y0: 0, x1: 1, y1: 1, line: { color: css("--faint"), dash: "dot", width: 1 } }] };
    return [traces, layout];
  }

  function reliability(canvas, section, figure) {
    const set = chosenSet(figure, section.reliability);
    const traces = set.models.map((model, index) => {
      const most = Math.max(...model.bins.cases);
      return {
        type: "scatter", mode: "lines+markers", x: model.bins.stated, y: model.bins.observed, visible: index < 3 ? true : "legendonly",
        name: text(cut(withTag(model), small(canvas) ? 38 : 44)), line: { color: colour(index), width: 1, dash: "dot" },
        marker: { color: colour(index), opacity: 0.85, size: model.bins.cases.map((n) => 5 + 15 * Math.sqrt(n / most)) },
        customdata: model.bins.cases,
        hovertemplate: `<b>${text(withTag(model))}</b><br>predicted %{x:.2f}, observed %{y:.2f}<br>%{customdata} cases<extra></extra>`,
      };
    });
    const layout = { ...square(canvas, traces.length), showlegend: true, legend,
      xaxis: unit("Predicted probability", { scaleanchor: "y", constrain: "domain", range: [-0.03, 1.03] }),
      yaxis: unit("Observed frequency", { constrain: "domain", range: [-0.03, 1.03] }),
      shapes: [{ type: "line", x0: 0, y0: 0, x1: 1, y1: 1, line: { color: css("--faint"), dash: "dash", width: 1 } }] };
    return [traces, layout];
  }

  function learning(canvas, section, figure) {
    const set = chosenSet(figure, section.learning);
    const chosen = metricOf(section, (name) => set.curves.some((curve) => name in curve.numbers));
    const metric = data.metrics[chosen];
    const curves = set.curves.filter((curve) => curve.numbers[chosen]);
    if (!curves.length) return null;
    const sizes = [...new Set(curves.flatMap((curve) => curve.x))].sort((a, b) => a - b);
    const step = Math.log10(sizes.length > 1 ? Math.min(sizes.at(-1) / sizes.at(-2), 4) : 2);
    const whole = Math.log10(sizes.at(-1)) + step;
    const dodge = Math.min(0.03, 0.25 * step / curves.length);
    const traces = curves.flatMap((curve, index) => {
      const tone = toneOf(curve.backbone);
      const numbers = curve.numbers[chosen];
      const last = curve.whole[chosen];
      const shift = (index - (curves.length - 1) / 2) * dodge;
      const peers = curves.filter((other) => other.backbone === curve.backbone);
      const say = (number, size) => `<b>${text(curve.name)}</b><br>${text(size)}<br>${text(metric.title)} ${withInterval(number, metric.digits)}`;
      const draws = curve.x.map((_, i) => [curve.size[i], ...(curve.patients[i] ? [`${curve.patients[i]} training patients`] : []), `${curve.draws[i]} draw${curve.draws[i] === 1 ? "" : "s"}`].join(", "));
      const line = {
        type: "scatter", mode: "lines+markers", name: text(cut(curve.name, small(canvas) ? 38 : 44)), legendgroup: String(index),
        x: curve.x.map((x) => Math.log10(x) + shift), y: numbers.map((n) => n[0]), error_y: bars(numbers, tone), marker: { color: tone, size: 7 },
        line: { color: tone, width: 2, dash: dashes[peers.indexOf(curve) % dashes.length] },
        text: numbers.map((number, i) => say(number, draws[i])), hovertemplate: "%{text}<extra></extra>",
      };
      const end = last && {
        ...line, showlegend: false, x: [line.x.at(-1), whole + shift], y: [line.y.at(-1), last[0]], error_y: bars([[null, null, null], last], tone),
        line: { color: tone, width: 1.2, dash: "dot" }, marker: { color: tone, size: [0, 10], symbol: "diamond-open" }, text: ["", say(last, "every label")],
      };
      return end ? [end, line] : [line];
    });
    const ends = curves.some((curve) => curve.whole[chosen]);
    const drawn = [...curves.flatMap((curve) => [...curve.numbers[chosen], curve.whole[chosen] ?? []]), metric.chance ?? []];
    const layout = { ...base(Math.min(canvas.clientWidth, 430) + 20 * curves.length), showlegend: true, legend: { ...legend, y: -0.18 },
      xaxis: axis(set.kind === "shots" ? "Training patients per class (shots)" : "Share of the training labels", {
        tickvals: [...sizes.map(Math.log10), ...(ends ? [whole] : [])], range: [Math.log10(sizes[0]) - 0.3 * step, (ends ? whole : Math.log10(sizes.at(-1))) + 0.3 * step],
        ticktext: [...sizes.map((size) => (set.kind === "shots" ? String(size) : `${size} %`)), ...(ends ? ["every label"] : [])] }),
      yaxis: axis(text(metric.title), { range: padded(drawn) }), shapes: [] };
    if (metric.chance !== null) layout.shapes.push({ type: "line", xref: "paper", x0: 0, x1: 1, y0: metric.chance, y1: metric.chance,
      line: { color: css("--faint"), dash: "dot", width: 1 } });
    return [traces, layout];
  }

  // One row per structure of a model, or per model on a structure. Points are spread vertically by rank.
  function strip(canvas, section, figure) {
    const set = chosenSet(figure, section.strip);
    const [kind, selected] = (figure.querySelector("select.view")?.value ?? "model:0").split(/:(.*)/s);
    const ofModel = kind === "model";
    const rows = ofModel
      ? set.labels.map((label, index) => ({ name: label, full: `${label}, ${withTag(set.models[Number(selected)])}`, ...set.models[Number(selected)].rows[index] }))
      : set.models.map((model) => ({ name: withTag(model), full: withTag(model), ...model.rows[Number(selected)] }));
    const kinds = [["both", "circle", null], ["missed", "x", "--bad"], ["false alarm", "triangle-up", "--warn"]];
    const traces = [];
    const annotations = [];
    rows.forEach((row, r) => {
      const tone = colour(r);
      const spread = (i) => r + 0.56 * (((i * 0.618034) % 1) - 0.5);
      const points = row.points.map((point, i) => [...point, spread(i)]);
      kinds.forEach(([outcome, symbol, own], code) => {
        const mine = points.filter((point) => point[5] === code);
        if (mine.length) traces.push({
          type: "scatter", mode: "markers", x: mine.map((p) => p[1]), y: mine.map((p) => p[6]),
          marker: { color: own ? css(own) : tone, symbol, size: code ? 8 : 6, opacity: code ? 1 : 0.62 },
          text: mine.map((p) => `<b>${text(set.cases[p[0]])}</b><br>${text(row.full)}<br>${code ? `${outcome}<br>` : ""}Dice ${shown(p[1])}` +
            `${code ? "" : `, HD95 ${shown(p[2], 1)} mm`}<br>${shown(p[3], 2)} ml true, ${shown(p[4], 2)} ml predicted`),
          hovertemplate: "%{text}<extra></extra>",
        });
      });
      // Label the worst cases; cases with nearly the same Dice share a label.
      const worst = [];
      points.slice(0, 3).forEach((point) => {
        const near = worst.find((group) => Math.abs(group.x - point[1]) < 0.04);
        if (near) near.names.push(set.cases[point[0]]);
        else worst.push({ x: point[1], names: [set.cases[point[0]]] });
      });
      worst.forEach((group, i) => annotations.push({
        x: group.x, y: r + 0.37, xanchor: group.x > 0.5 ? "right" : "left", yanchor: "middle", showarrow: false, yshift: -11 * i,
        text: text(cut(group.names.join(", "), small(canvas) ? 24 : 48)), font: { size: 10.5, color: css("--soft") } }));
      if (row.mean.length && row.mean[0] !== null) traces.push({
        type: "scatter", mode: "markers", x: [row.mean[0]], y: [r - 0.4], error_x: bars([row.mean], css("--ink")),
        marker: { symbol: "diamond", size: 8, color: css("--ink") },
        hovertemplate: `<b>${text(row.full)}</b><br>mean Dice ${withInterval(row.mean, 3)}<extra></extra>` });
    });
    const most = small(canvas) ? 16 : 34;
    const layout = { ...base(rows.length * 104 + 70), showlegend: false, annotations, margin: { l: 8, r: 14, t: 14, b: 44 },
      xaxis: axis("Dice", { range: [-0.03, 1.03], dtick: 0.1 }),
      yaxis: axis("", { range: [rows.length - 0.4, -0.6], tickvals: rows.map((_, r) => r), gridcolor: "rgba(0,0,0,0)",
        ticktext: rows.map((row) => text(cut(row.name, most)).replace(" · ", "<br>")) }) };
    return [traces, layout];
  }

  function cost(canvas, section, figure) {
    const set = chosenSet(figure, section.cost);
    const chosen = metricOf(section, (name) => set.models.some((model) => name in model.numbers));
    const metric = data.metrics[chosen];
    const models = set.models.filter((model) => model.numbers[chosen]);
    if (!models.length) return null;
    const names = [...new Set(models.map((model) => model.backbone))];
    const traces = names.map((name) => {
      const own = models.filter((model) => model.backbone === name);
      const numbers = own.map((model) => model.numbers[chosen]);
      return {
        type: "scatter", mode: "markers+text", name: text(cut(name, 44)), x: own.map((model) => model.percent), y: numbers.map((n) => n[0]),
        error_y: bars(numbers, toneOf(name)), marker: { color: toneOf(name), size: 9 },
        text: own.map((model) => text(cut(model.method, 24))), textposition: "top right", textfont: { size: 11, color: css("--soft") }, cliponaxis: false,
        customdata: own.map((model) => `<b>${text(model.backbone)}</b> · ${text(model.method)}<br>${text(model.words)}<br>${text(metric.title)} ${withInterval(model.numbers[chosen], metric.digits)}`),
        hovertemplate: "%{customdata}<extra></extra>",
      };
    });
    const logs = models.map((model) => Math.log10(model.percent));
    const layout = { ...base(400 + 20 * names.length), showlegend: true, legend: { ...legend, y: -0.18 }, margin: { l: 56, r: 30, t: 24, b: 46 },
      xaxis: axis("Share of the model's parameters that was trained", { type: "log", range: [Math.min(...logs) - 0.25, Math.max(...logs) + 0.45],
        ticksuffix: " %", dtick: Math.max(...logs) - Math.min(...logs) < 0.8 ? "D2" : 1, exponentformat: "none" }),
      yaxis: axis(text(metric.title), { range: padded(models.map((model) => model.numbers[chosen])) }) };
    return [traces, layout];
  }

  const classesOf = (set) => [...new Set(set.models.flatMap((model) => model.lines.map((line) => line.name)))];
  const plots = { forest, roc, reliability, learning, strip, cost };
  const sectionOf = (figure) => data.sections.find((section) => section.id === figure.dataset.section);

  function viewOptions(set) {
    const classes = set.labels ?? classesOf(set);
    const group = (label, kind, items) => {
      const options = make("optgroup", { label });
      items.forEach((item, index) => options.append(make("option", { value: `${kind}:${index}`, textContent: item })));
      return options;
    };
    const compare = group("Compare all on", "class", classes);
    const every = group(set.labels ? "All structures of" : "All classes of", "model", set.models.map(withTag));
    return classes.length === 1 ? [compare] : [every, compare];
  }
  const setName = (set, sets) => {
    const kinds = new Set(sets.map((other) => other.kind)).size > 1;
    return kinds ? `${set.split}, ${set.kind === "shots" ? "shots" : "share of the labels"}` : set.split;
  };
  function controls(figure) {
    const bar = figure.querySelector(".controls");
    const sets = sectionOf(figure)[figure.dataset.plot];
    if (!Array.isArray(sets)) return;
    const onSet = make("select", { className: "set" }, ...sets.map((set, index) => make("option", { value: index, textContent: setName(set, sets) })));
    if (sets.length > 1) bar.append(make("label", {}, "Test set ", onSet));
    if (["roc", "strip"].includes(figure.dataset.plot)) {
      const view = make("select", { className: "view" }, ...viewOptions(sets[0]));
      onSet.addEventListener("change", () => view.replaceChildren(...viewOptions(chosenSet(figure, sets))));
      view.addEventListener("change", () => draw(figure));
      bar.append(make("label", {}, "Show ", view));
    }
    onSet.addEventListener("change", () => draw(figure));
  }

  function draw(figure) {
    const canvas = figure.querySelector(".canvas");
    const plot = plots[figure.dataset.plot](canvas, sectionOf(figure), figure);
    figure.hidden = plot === null;
    if (plot) {
      canvas.style.minHeight = "0";
      Plotly.react(canvas, ...plot, settings);
    }
  }
  const figures = all(".plot");
  const drawAll = () => figures.forEach(draw);
  figures.forEach(controls);
  drawAll();
  document.documentElement.dataset.drawn = String(figures.length);

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  let width = innerWidth;
  let waiting = 0;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(drawAll, 150);
  });
  const openAll = () => all("details:not([open])").forEach((details) => { details.open = true; details.dataset.printed = ""; });
  const closeAgain = () => all("details[data-printed]").forEach((details) => { details.open = false; delete details.dataset.printed; });
  addEventListener("beforeprint", openAll);
  addEventListener("afterprint", closeAgain);
})();
