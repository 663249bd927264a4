"use strict";
// The page already holds tables and charts; this script sorts, and shows those of the metric and view that are chosen.
(() => {
  const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];

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

  // ---- finding a method, and its table as a file ----------------------------------------------------------------
  const words = (text) => text.toLowerCase().split(/\s+/).filter(Boolean);
  document.addEventListener("input", (event) => {
    const field = event.target.closest?.("[data-find]");
    if (!field) return;
    const board = field.closest(".board");
    const found = all("table.leaderboard", board).map((table) => {
      const rows = [...table.tBodies[0].rows];
      rows.forEach((row) => {
        const name = `${row.cells[1].textContent} ${row.cells[2].textContent}`.toLowerCase();
        row.hidden = !words(field.value).every((word) => name.includes(word));
      });
      return [rows.filter((row) => !row.hidden).length, rows.length];
    });
    const [shown, every] = found[0] ?? [0, 0];
    board.querySelector("[data-count]").textContent = field.value.trim() ? `${shown} of ${every} methods` : "";
  });
  const quoted = (text) => {
    const plain = text.replace(/\s+/g, " ").trim();
    const inert = /^[=+@]|^-[^0-9.]/.test(plain) ? `'${plain}` : plain; // a spreadsheet would run it as a formula
    return /[",\n]/.test(inert) ? `"${inert.replace(/"/g, '""')}"` : inert;
  };
  const cellText = (cell) => {
    const value = cell.querySelector(":scope > data")?.value.replace("/", " to ");
    return quoted(value ?? (cell.tagName === "TH" && cell.dataset.sort ? cell.dataset.sort : cell.textContent));
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-csv]");
    if (!button) return;
    const table = all(".ranking:not([hidden]) table.leaderboard", button.closest(".board"))[0];
    const kept = [...table.tHead.rows[0].cells].map((cell, index) => (cell.classList.contains("axis") ? -1 : index)).filter((index) => index >= 0);
    const rows = [table.tHead.rows[0], ...[...table.tBodies[0].rows].filter((row) => !row.hidden)];
    const text = rows.map((row) => kept.map((index) => cellText(row.cells[index])).join(",")).join("\r\n");
    const metric = table.closest("[data-metric]").dataset.metric;
    const link = Object.assign(document.createElement("a"), {
      href: URL.createObjectURL(new Blob(["\ufeff", text, "\r\n"], { type: "text/csv" })),
      download: `${button.dataset.csv} ${metric}.csv`.replace(/[^\w.-]+/g, "-"),
    });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    button.dataset.saved = text;
  });

  // ---- parts of the page that are read less often come compressed ------------------------------------------
  const unpacked = async (text) => {
    const bytes = Uint8Array.from(atob(text.trim()), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  };
  const parts = all(".packed-html").map(async (part) => {
    part.insertAdjacentHTML("afterend", await unpacked(part.textContent));
    part.remove();
    if (chooser) chooseMetric(chooser.value);
  });

  const chooseMetric = (name) => {
    all(".board, [data-by-metric]").forEach((board) => {
      const views = all("[data-metric]", board);
      const ranked = all(".ranking", board); // tables of classes and controls follow the leaderboards
      const computed = (ranked.length ? ranked : views).some((view) => view.dataset.metric === name);
      const now = computed ? name : (ranked.length ? ranked : views).find((view) => "leading" in view.dataset)?.dataset.metric;
      views.forEach((view) => { view.hidden = view.dataset.metric !== now; });
      const note = board.querySelector(".no-metric");
      if (note) note.hidden = computed;
    });
  };
  const chooser = document.getElementById("metric");
  chooser?.addEventListener("change", () => chooseMetric(chooser.value));
  all("[data-choices]").forEach((group) => {
    const select = group.querySelector("select"); // its own select precedes those of nested groups
    select.addEventListener("change", () => {
      const choices = all("[data-choice]", group).filter((choice) => choice.parentElement.closest("[data-choices]") === group);
      choices.forEach((choice) => { choice.hidden = choice.dataset.choice !== select.value; });
    });
  });

  // ---- charts: the mark under the pointer, or the one that was tapped, says its numbers --------------------
  const tip = Object.assign(document.createElement("div"), { className: "tip", hidden: true });
  document.body.append(tip);
  const showTip = (event) => {
    const mark = event.target.closest?.("[data-tip]");
    tip.hidden = !mark;
    if (!mark) return;
    tip.textContent = mark.dataset.tip;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 4))}px`;
    tip.style.top = `${event.clientY + 18 + box.height > innerHeight ? event.clientY - box.height - 10 : event.clientY + 18}px`;
  };
  document.addEventListener("pointerover", showTip);
  document.addEventListener("click", showTip);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });

  // ---- cases: lists and pictures come compressed ----------------------------------------
  const make = (tag, fields = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), fields);
    element.append(...children);
    return element;
  };
  const drawing = (tag, fields, ...children) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    Object.entries(fields).forEach(([name, value]) => element.setAttribute(name, value));
    element.append(...children);
    return element;
  };
  const slices = (picture, outlines) => {
    const { width, height, planes, total } = picture;
    const image = make("img", { src: picture.image, alt: `${planes.length} slices of ${picture.sequence}` });
    const paths = picture.masked ? outlines.map(([kind, d]) => drawing("path", { d, class: kind })) : [];
    const box = { viewBox: `0 0 ${width} ${height * planes.length}`, preserveAspectRatio: "none", "aria-hidden": "true" };
    const layers = [image, ...(paths.length ? [drawing("svg", box, ...paths)] : [])];
    if (paths.length) layers[1].style.height = `${100 * planes.length}%`;
    const frame = make("div", { className: "frame" }, ...layers);
    frame.style.aspectRatio = `${width} / ${height}`;
    const words = make("figcaption");
    const show = (at) => {
      layers.forEach((layer) => { layer.style.transform = `translateY(${(-100 * at) / planes.length}%)`; });
      words.textContent = total > 1 ? `${picture.sequence}, slice ${planes[at]} of ${total}` : picture.sequence;
    };
    const slider = make("input", { type: "range", min: 0, max: planes.length - 1, value: Math.floor(planes.length / 2) });
    slider.setAttribute("aria-label", `Slice of ${picture.sequence}`);
    slider.addEventListener("input", () => show(Number(slider.value)));
    frame.addEventListener("wheel", (event) => {
      if (planes.length < 2 || !event.deltaY) return;
      event.preventDefault();
      slider.value = Number(slider.value) + Math.sign(event.deltaY);
      show(Number(slider.value));
    }, { passive: false });
    show(Number(slider.value));
    const figure = make("figure", {}, frame, ...(planes.length > 1 ? [slider] : []), words);
    figure.style.width = `${Math.max(width, 200)}px`;
    return figure;
  };
  const toggle = (name, kind, inside) => {
    const box = make("input", { type: "checkbox", checked: true });
    box.addEventListener("change", () => all(`path.${kind}`, inside).forEach((path) => { path.style.display = box.checked ? "" : "none"; }));
    return make("label", {}, box, make("i", { className: `key ${kind}` }), ` ${name}`);
  };
  const showCase = (place, list, [name, text, facts], picture) => {
    const rows = facts.map(([key, value]) => make("div", {}, make("dt", { textContent: key }), make("dd", { textContent: value })));
    const near = picture?.nearest.length ? [make("p", { className: "note", textContent: `Nearest training cases: ${picture.nearest.join("; ")}.` })] : [];
    const outlines = [["truth", picture?.truth], ["predicted", picture?.predicted[list.cell]]].filter(([, d]) => d);
    const images = make("div", { className: "images" }, ...(picture?.images ?? []).map((one) => slices(one, outlines)));
    const drawn = ["truth", "predicted"].filter((kind) => images.querySelector(`path.${kind}`));
    const bar = make("div", { className: "controls" }, ...drawn.map((kind) => toggle(kind === "truth" ? "truth" : "prediction", kind, images)));
    const own = picture?.volume && { ...picture.volume, predicted: list.in_3d ? picture.volume.predicted : "" }; // of this method
    const volume = own ? [globalThis.radaptVolume(own, name)] : [];
    const lacking = list.segments && picture && !(list.cell in picture.predicted);
    const missing = lacking ? "The outlines by this method are not in this file." : picture ? "" : "No picture of this case is in this file.";
    const none = missing ? [make("p", { className: "note", textContent: missing })] : [];
    place.replaceChildren(make("h4", { textContent: name }), make("p", { textContent: text }), bar, images, ...volume, ...none, make("dl", { className: "facts narrow" }, ...rows), ...near);
  };
  const browsers = all(".browser").map((browser) => unpacked(browser.querySelector(".cases-data").textContent).then((text) => {
    const { lists, pictures } = JSON.parse(text);
    const [listed, filter, rows, place, count] = ["select.list", "select.filter", ".rows", ".case", ".count"].map((one) => browser.querySelector(one));
    const list = () => lists[Number(listed.value)];
    const fill = () => {
      const { rows: every, total } = list();
      const own = every.filter(([, , , groups]) => !filter.value || groups.includes(filter.value));
      count.textContent = `${own.length} of ${filter.value ? filter.selectedOptions[0].dataset.count : total} cases listed.`;
      rows.replaceChildren(...own.map((row) => {
        const button = make("button", { type: "button" }, make("b", { textContent: `${pictures[row[0]] ? "▣ " : ""}${row[0]}${pictures[row[0]]?.volume ? " (3D)" : ""}` }), make("span", { textContent: row[1] }));
        button.addEventListener("click", () => {
          all("[aria-current]", rows).forEach((other) => other.removeAttribute("aria-current"));
          button.setAttribute("aria-current", "true");
          showCase(place, list(), row, pictures[row[0]]);
        });
        return make("li", {}, button);
      }));
      place.replaceChildren();
      rows.querySelector("button")?.click();
    };
    const choose = () => {
      const options = list().filters.map(([group, words, number]) => new Option(`${words} (${number})`, group));
      options.forEach((option, at) => { option.dataset.count = list().filters[at][2]; });
      filter.replaceChildren(new Option("all cases", ""), ...options);
    };
    rows.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      const next = step && (step > 0 ? event.target.closest("li")?.nextElementSibling : event.target.closest("li")?.previousElementSibling);
      if (!next) return;
      event.preventDefault();
      next.firstElementChild.focus();
      next.firstElementChild.click();
    });
    listed.addEventListener("change", () => { choose(); fill(); });
    filter.addEventListener("change", fill);
    choose();
    fill();
    return (cell, split, group) => {
      const at = lists.findIndex((one) => one.cell === cell && one.split === split);
      if (at < 0) return false;
      listed.value = at;
      choose();
      filter.value = group;
      fill();
      browser.previousElementSibling.previousElementSibling.scrollIntoView();
      rows.querySelector("button")?.focus({ preventScroll: true });
      return true;
    };
  }));
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("button.see");
    if (button) (await Promise.all(browsers)).some((see) => see(button.dataset.cell, button.dataset.split, button.dataset.group));
  });

  const openAll = () => all("details:not([open])").forEach((details) => { details.open = true; details.dataset.printed = ""; });
  const closeAgain = () => all("details[data-printed]").forEach((details) => { details.open = false; delete details.dataset.printed; });
  addEventListener("beforeprint", openAll);
  addEventListener("afterprint", closeAgain);
  Promise.all([...parts, ...browsers]).then(() => { document.documentElement.dataset.ready = ""; });
})();
