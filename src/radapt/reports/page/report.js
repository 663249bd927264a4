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

  const openAll = () => all("details:not([open])").forEach((details) => { details.open = true; details.dataset.printed = ""; });
  const closeAgain = () => all("details[data-printed]").forEach((details) => { details.open = false; delete details.dataset.printed; });
  addEventListener("beforeprint", openAll);
  addEventListener("afterprint", closeAgain);
  document.documentElement.dataset.ready = "";
})();
