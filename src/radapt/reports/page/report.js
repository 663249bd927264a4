"use strict";
// Tables and their words are in the page already; this sorts them, switches the metric and draws the plots.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  // Plotly reads a little HTML in its labels; names of the run are text.
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
    // What has no number stays at the end, whichever way the table is sorted.
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
      const tables = all(".by-metric", board);
      tables.forEach((table) => { table.hidden = table.dataset.metric !== name; });
      const note = board.querySelector(".no-metric");
      if (note) note.hidden = tables.some((table) => !table.hidden);
    });
    all('.plot[data-plot="forest"]').forEach(draw);
  };
  const chooser = document.getElementById("metric");
  if (chooser) {
    if (state.metric) chooser.value = state.metric;
    chooser.addEventListener("change", () => chooseMetric(chooser.value));
  }
  all("[data-choices]").forEach((group) => {
    const select = group.querySelector("select");
    select.addEventListener("change", () => {
      all("[data-choice]", group).forEach((one) => { one.hidden = one.dataset.choice !== select.value; });
    });
  });

  // ---- plots -------------------------------------------------------------------------------------------------
  const colour = (index) => css(`--c${index % 8}`);
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

  function forest(canvas, cohort) {
    const { rows, sets } = cohort.forest;
    const metric = data.metrics[state.metric];
    const panels = sets
      .map((set) => ({ split: set.split, points: set.points.filter((point) => point[1] === state.metric) }))
      .filter((set) => set.points.length);
    if (!panels.length) return null;
    const names = [...new Set(rows.map((row) => row.backbone))];
    const across = Math.max(1, Math.min(panels.length, Math.floor((canvas.clientWidth - 150) / 210)));
    const down = Math.ceil(panels.length / across);
    const most = Math.max(...rows.map((_, r) => Math.max(...panels.map((set) => set.points.filter((p) => p[0] === r).length), 1)));
    const tall = Math.max(36, 16 + 9 * Math.min(most, 12));
    const each = rows.length * tall + 62;
    const layout = { ...base(down * each + 40), showlegend: false, shapes: [], annotations: [] };
    layout.margin = { l: 8, r: 12, t: 34, b: 44 };
    const limits = panels.flatMap((set) => set.points.flatMap((p) => [p[2], p[3], p[4]])).filter((v) => v !== null);
    if (metric.chance !== null) limits.push(metric.chance);
    const pad = (Math.max(...limits) - Math.min(...limits)) * 0.04 || 0.05;
    const range = [Math.min(...limits) - pad, Math.max(...limits) + pad];
    const traces = [];
    panels.forEach((set, index) => {
      const key = index ? index + 1 : "";
      const column = index % across;
      const line = Math.floor(index / across);
      const gap = 0.035;
      const wide = (1 - gap * (across - 1)) / across;
      const high = each / (down * each);
      const domain = [1 - (line + 1) * high + (down > 1 ? 50 / (down * each) : 0), 1 - line * high];
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
        const tone = colour(names.indexOf(row.backbone));
        const step = own.length > 1 ? Math.min(0.24, 0.7 / (own.length - 1)) : 0;
        traces.push({
          type: "scatter", mode: "markers", xaxis: `x${key}`, yaxis: `y${key}`,
          x: own.map((p) => p[2]), y: own.map((_, i) => r + (i - (own.length - 1) / 2) * step),
          marker: { color: tone, size: own.length > 6 ? 5 : 7.5 },
          error_x: { type: "data", symmetric: false, array: own.map((p) => (p[4] === null ? 0 : p[4] - p[2])),
            arrayminus: own.map((p) => (p[3] === null ? 0 : p[2] - p[3])), color: tone, thickness: 1.6, width: 0 },
          hovertemplate: "%{text}<extra></extra>",
          text: own.map((p) => `<b>${text(row.backbone)}</b> · ${text(row.method)}<br>${text(p[5])}${p[5] ? "<br>" : ""}${text(metric.title)} ${shown(p[2])}` +
            (p[3] === null ? "" : ` (95 % CI ${shown(p[3])} to ${shown(p[4])})`)),
        });
      });
    });
    return [traces, layout];
  }

  function roc(canvas, cohort, figure) {
    const set = chosenSet(figure, cohort.roc);
    const [kind, name] = (figure.querySelector("select.view")?.value ?? "class:0").split(/:(.*)/s);
    const models = kind === "model" ? [set.models[Number(name)]].filter(Boolean) : set.models;
    const lines = models.flatMap((model) => model.lines
      .filter((line) => kind === "model" || line.name === classesOf(set)[Number(name)])
      .map((line) => ({ line, label: kind === "model" ? line.name : withTag(model) })));
    const traces = lines.map(({ line, label }, index) => ({
      type: "scatter", mode: "lines", x: line.x, y: line.y, name: text(cut(label, small(canvas) ? 38 : 44)),
      line: { color: colour(index), width: 2.2, dash: dashes[Math.floor(index / 8) % dashes.length] },
      hovertemplate: `<b>${text(label)}</b><br>${text(line.name)}: ${line.positive} with, ${line.negative} without<br>sensitivity %{y:.2f} at 1 − specificity %{x:.2f}<extra></extra>`,
    }));
    const layout = { ...square(canvas, lines.length), showlegend: true, legend,
      xaxis: unit("1 − specificity", { scaleanchor: "y", constrain: "domain" }),
      yaxis: unit("Sensitivity", { constrain: "domain" }),
      shapes: [{ type: "line", x0: 0, y0: 0, x1: 1, y1: 1, line: { color: css("--faint"), dash: "dot", width: 1 } }] };
    return [traces, layout];
  }

  function reliability(canvas, cohort, figure) {
    const set = chosenSet(figure, cohort.reliability);
    const traces = set.models.map((model, index) => {
      const most = Math.max(...model.bins.cases);
      return {
        type: "scatter", mode: "lines+markers", x: model.bins.stated, y: model.bins.observed, visible: index < 3 ? true : "legendonly",
        name: text(cut(withTag(model), small(canvas) ? 38 : 44)), line: { color: colour(index), width: 1, dash: "dot" },
        marker: { color: colour(index), opacity: 0.85, size: model.bins.cases.map((n) => 5 + 15 * Math.sqrt(n / most)) },
        customdata: model.bins.cases,
        hovertemplate: `<b>${text(withTag(model))}</b><br>stated %{x:.2f}, observed %{y:.2f}<br>%{customdata} cases<extra></extra>`,
      };
    });
    const layout = { ...square(canvas, traces.length), showlegend: true, legend,
      xaxis: unit("Stated probability", { scaleanchor: "y", constrain: "domain", range: [-0.03, 1.03] }),
      yaxis: unit("Observed", { constrain: "domain", range: [-0.03, 1.03] }),
      shapes: [{ type: "line", x0: 0, y0: 0, x1: 1, y1: 1, line: { color: css("--faint"), dash: "dash", width: 1 } }] };
    return [traces, layout];
  }

  const classesOf = (set) => [...new Set(set.models.flatMap((model) => model.lines.map((line) => line.name)))];
  const makers = { forest, roc, reliability };
  const cohortOf = (figure) => data.cohorts.find((cohort) => cohort.id === figure.dataset.cohort);

  function viewOptions(set) {
    const classes = classesOf(set);
    const group = (label, kind, items) => {
      const options = make("optgroup", { label });
      items.forEach((item, index) => options.append(make("option", { value: `${kind}:${index}`, textContent: item })));
      return options;
    };
    const compare = group("Compare all on", "class", classes);
    return classes.length === 1 ? [compare] : [group("All classes of", "model", set.models.map(withTag)), compare];
  }
  function controls(figure) {
    const place = figure.querySelector(".controls");
    const sets = cohortOf(figure)[figure.dataset.plot];
    if (!Array.isArray(sets)) return;
    const onSet = make("select", { className: "set" }, ...sets.map((set, index) => make("option", { value: index, textContent: set.split })));
    if (sets.length > 1) place.append(make("label", {}, "Test set ", onSet));
    if (figure.dataset.plot === "roc") {
      const view = make("select", { className: "view" }, ...viewOptions(sets[0]));
      onSet.addEventListener("change", () => view.replaceChildren(...viewOptions(chosenSet(figure, sets))));
      view.addEventListener("change", () => draw(figure));
      place.append(make("label", {}, "Show ", view));
    }
    onSet.addEventListener("change", () => draw(figure));
  }

  function draw(figure) {
    const canvas = figure.querySelector(".canvas");
    const made = makers[figure.dataset.plot](canvas, cohortOf(figure), figure);
    figure.hidden = made === null;
    if (made) {
      canvas.style.minHeight = "0";
      Plotly.react(canvas, ...made, settings);
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
  const openAll = () => all("details:not([open])").forEach((one) => { one.open = true; one.dataset.printed = ""; });
  const closeAgain = () => all("details[data-printed]").forEach((one) => { one.open = false; delete one.dataset.printed; });
  addEventListener("beforeprint", openAll);
  addEventListener("afterprint", closeAgain);
})();
