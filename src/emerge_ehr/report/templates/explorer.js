"use strict";
// Search, sort and the open patient. All text is in the page already, put there by the server's templates: this script moves,
// hides and marks elements, and writes text only as textContent.
(() => {
  const byId = (id) => document.getElementById(id);
  const root = document.documentElement, list = byId("list"), views = byId("views");

  const theme = byId("theme");
  const dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const name = () => { theme.textContent = dark() ? "Light" : "Dark"; theme.setAttribute("aria-label", `Use ${theme.textContent.toLowerCase()} colours`); };
  theme.hidden = false;
  theme.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; name(); });
  name();

  // The open patient: the one that the address names, or that holds what the address names.
  views.classList.add("scripted");
  const show = (shown) => {
    for (const view of views.children) view.classList.toggle("shown", view === shown);
    for (const link of list.querySelectorAll("a")) {
      const current = link.hash === `#${shown.id}`;
      if (current) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
    }
    dispatchEvent(new Event("patientshown"));
  };
  const open = () => {
    const target = location.hash.length > 1 ? byId(decodeURIComponent(location.hash.slice(1))) : null;
    const named = target && target.closest(".patient");
    show(named || views.querySelector(".shown") || views.firstElementChild);
    if (named) { target.scrollIntoView(); if (target === named) named.focus({ preventScroll: true }); }
  };
  addEventListener("hashchange", open);
  open();

  const items = [...list.children], controls = byId("controls"), search = byId("search"), sort = byId("sort"), found = byId("found"), kind = byId("shown");
  const threshold = byId("threshold");
  controls.hidden = false;
  controls.addEventListener("submit", (event) => event.preventDefault());
  // What an alert at the chosen threshold would be for a patient: right, false, missed, or rightly none.
  const call = (item) => {
    const column = item.dataset.main, outcome = item.dataset.outcomes.split(" ")[column];
    if (!threshold || outcome === "-1") return "";
    const alert = risk(item, column) >= threshold.value / 100;
    return outcome === "1" ? (alert ? "right" : "miss") : (alert ? "false" : "quiet");
  };
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    for (const item of items) {
      const text = `${item.dataset.id} ${item.dataset.diseases} ${item.dataset.signals} ${item.dataset.facts}`.toLowerCase();
      item.hidden = !words.every((word) => text.includes(word)) || (kind.value !== "all" && call(item) !== kind.value);
      left += item.hidden ? 0 : 1;
    }
    const at = kind.value === "all" || !threshold ? "" : `, for alerts from ${threshold.value} % on`;
    const hidden = found.dataset.total - items.length;
    found.textContent = `${left} of ${items.length} ${found.dataset.sample}${at}` + (hidden ? `; ${hidden} more of the test split are not shown here` : "");
    // the open patient is one that fits
    const fitting = items.filter((item) => !item.hidden).map((item) => byId(item.querySelector("a").hash.slice(1)));
    const shown = views.querySelector(".shown");
    byId("none-shown").hidden = fitting.length > 0;
    if (!fitting.includes(shown)) { shown?.classList.remove("shown"); if (fitting.length) show(fitting[0]); }
  };
  const risk = (item, column) => Number(item.dataset.risks.split(" ")[column]);
  const order = () => {
    const [key, column] = sort.value.split("-");
    const outcome = (item) => Number(item.dataset.outcomes.split(" ")[column]);
    const compare = {
      risk: (a, b) => risk(b, column) - risk(a, column),
      id: (a, b) => a.dataset.id.localeCompare(b.dataset.id, "en", { numeric: true }),
      outcome: (a, b) => outcome(b) - outcome(a) || risk(b, column) - risk(a, column),
    }[key];
    list.append(...items.sort(compare));
  };
  search.addEventListener("input", filter);
  kind.addEventListener("change", filter);
  sort.addEventListener("change", order);
  filter();

  // The slider reads what the table of every threshold says.
  if (threshold) {
    const words = byId("threshold-words"), shown = byId("threshold-shown"), every = byId("every-threshold"), sample = words.dataset.sample;
    byId("alerting").hidden = false;
    const move = () => {
      const cells = [...every.querySelector(`tr[data-percent="${threshold.value}"]`).cells].map((cell) => cell.textContent);
      shown.textContent = `${threshold.value} %`;
      threshold.setAttribute("aria-valuetext", `${threshold.value} %`);
      words.textContent = `Of 100 ${sample}, ${cells[1]} raise an alert: ${cells[2]} are right and ${cells[3]} false (PPV ${cells[7]}). ` +
        `${cells[4]} with the outcome are missed (sensitivity ${cells[5]}, specificity ${cells[6]}).`;
    };
    threshold.addEventListener("input", () => { move(); filter(); });
    move();
  }

  // Every figure as SVG and every table as CSV. The colours of a figure are written into it, as its file has no style sheet.
  const PAINT = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-opacity", "stroke-linecap", "opacity", "font-family", "font-size", "text-anchor", "vector-effect"];
  const named = (text) => text.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "").slice(0, 60) || "report";
  const save = (name, type, text) => {
    const link = document.createElement("a"), url = URL.createObjectURL(new Blob([text], { type }));
    link.href = url; link.download = name; link.click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  };
  const drawing = (svg) => {
    const before = root.dataset.theme;
    root.dataset.theme = "light"; // a figure that leaves the page is for paper
    const text = painted(svg);
    if (before === undefined) delete root.dataset.theme; else root.dataset.theme = before;
    return text;
  };
  const paint = (from, to) => {
    const style = getComputedStyle(from);
    for (const key of PAINT) to.setAttribute(key, style.getPropertyValue(key));
    to.removeAttribute("class");
    return to;
  };
  const made = (name, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  const painted = (svg) => {
    const copy = svg.cloneNode(true), own = [svg, ...svg.querySelectorAll("*")], copies = [copy, ...copy.querySelectorAll("*")];
    own.forEach((element, n) => paint(element, copies[n]));
    const box = svg.getBoundingClientRect(), [x, y, width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
    const legend = svg.closest("figure.chart")?.querySelectorAll(".legend li") ?? []; // it stands below the drawing, outside of it
    legend.forEach((item, n) => {
      const line = item.querySelector("path"), name = made("text", { x: x + 38, y: y + height + 16 * n + 12, "font-size": 11 });
      name.setAttribute("font-family", getComputedStyle(item).fontFamily); name.setAttribute("fill", getComputedStyle(item).color);
      name.textContent = item.textContent.trim();
      const drawn = paint(line, line.cloneNode());
      drawn.setAttribute("transform", `translate(${x + 8} ${y + height + 16 * n + 4})`);
      copy.append(drawn, name);
    });
    const tall = height + 16 * legend.length + (legend.length ? 8 : 0);
    copy.prepend(made("rect", { x, y, width, height: tall, fill: getComputedStyle(root).getPropertyValue("--card") }));
    copy.setAttribute("viewBox", `${x} ${y} ${width} ${tall}`);
    copy.setAttribute("width", Math.round(box.width)); copy.setAttribute("height", Math.round(box.height * tall / height));
    return new XMLSerializer().serializeToString(copy);
  };
  // A table as CSV: an estimate and the two ends of its interval have a column each.
  const plain = (cell) => cell ? cell.textContent.trim().replace(/\s+/g, " ").replace(/\u2212/g, "-") : "";
  const quoted = (text) => {
    const safe = /^[=+@-]/.test(text) && Number.isNaN(Number(text)) && !/^[+-][\d.]+ /.test(text) ? `'${text}` : text; // no formula for spreadsheets
    return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const apart = (cell) => {
    if (cell && cell.closest("thead")) { const name = plain(cell).replace(/ \(95 % interval\)$/, ""); return [name, `${name}, low`, `${name}, high`]; }
    const interval = cell && cell.querySelector(".interval"), text = plain(interval), ends = text.match(/^\((\S+) to (\S+)\)$/);
    return ends ? [plain(cell).replace(text, "").trim(), ends[1], ends[2]] : [plain(cell).replace("(no interval)", "").trim(), "", ""];
  };
  const written = (table) => {
    const rows = [...table.rows].map((row) => [...row.cells].filter((cell) => !cell.classList.contains("bars")).flatMap((cell) => [cell, ...Array(cell.colSpan - 1).fill(null)]));
    const estimated = new Set(rows.flatMap((row) => [...row.keys()].filter((n) => row[n] && row[n].querySelector(".interval"))));
    return rows.map((row) => row.flatMap((cell, n) => estimated.has(n) ? apart(cell) : [plain(cell)]).map(quoted).join(",")).join("\r\n") + "\r\n";
  };
  const button = (label, what, act) => {
    const get = document.createElement("button");
    get.type = "button"; get.className = "get"; get.textContent = label; get.setAttribute("aria-label", `${label} of ${what}`);
    get.addEventListener("click", act);
    return get;
  };
  const offer = (place, label, what, act, before) => {
    const near = before ? place.previousElementSibling : place.lastElementChild;
    const row = near && near.classList.contains("gets") ? near : document.createElement("div");
    row.className = "gets";
    row.append(button(label, what, act));
    if (!row.parentNode) { if (before) place.before(row); else place.append(row); }
  };
  const equip = (part) => {
    for (const table of part.querySelectorAll("table")) {
      const what = table.caption ? table.caption.textContent.trim() : "table", place = table.closest(".scroll") || table;
      offer(place, "CSV", what, () => save(`${named(what)}.csv`, "text/csv", written(table)), true);
    }
    for (const svg of part.querySelectorAll("figure svg[role=img], svg.heat, svg.graph")) {
      const figure = svg.closest("figure"), what = svg.getAttribute("aria-label");
      offer(figure || svg.closest(".scroll"), "SVG", what, () => save(`${named(what)}.svg`, "image/svg+xml", drawing(svg)), !figure);
    }
  };
  for (const part of document.querySelectorAll("main > section:not(#patients)")) equip(part);
  const equipped = new WeakSet();
  const equipShown = () => { const shown = views.querySelector(".shown"); if (shown && !equipped.has(shown)) { equipped.add(shown); equip(shown); } };
  addEventListener("patientshown", equipShown);
  equipShown();

  // Browsers that cannot open what is folded by style alone get it opened for the time of printing.
  if (!CSS.supports("selector(details::details-content)")) {
    const folded = () => document.querySelectorAll("details:not([open])");
    addEventListener("beforeprint", () => folded().forEach((part) => { part.open = true; part.dataset.folded = ""; }));
    addEventListener("afterprint", () => document.querySelectorAll("details[data-folded]").forEach((part) => { part.open = false; delete part.dataset.folded; }));
  }

  // What a statement rests on lights up with it.
  const light = (event, on) => {
    const statement = event.target.closest && event.target.closest(".statements li");
    if (!statement) return;
    for (const link of statement.querySelectorAll("a.cite")) {
      const target = byId(link.hash.slice(1));
      if (target) target.classList.toggle("lit", on);
    }
  };
  for (const [kind, on] of [["mouseover", true], ["mouseout", false], ["focusin", true], ["focusout", false]]) views.addEventListener(kind, (event) => light(event, on));

  // The value under the pointer, or by the arrow keys; what was not measured in an hour is carried forward.
  const told = new WeakMap();
  const tell = (figure, hour) => {
    const values = figure.dataset.values.split(","), readout = figure.querySelector(".readout");
    if (!told.has(readout)) told.set(readout, readout.textContent);
    if (hour === null) { readout.textContent = told.get(readout); delete figure.dataset.hour; return; }
    hour = Math.max(0, Math.min(values.length - 1, hour));
    let at = hour;
    while (at >= 0 && values[at] === "") at -= 1;
    const how = at < 0 ? "not measured yet" : [values[at], figure.dataset.unit, at < hour ? "(carried)" : ""].filter(Boolean).join(" ");
    const step = Number(figure.dataset.step || 1), from = hour * step;
    readout.textContent = (step === 1 ? `hour ${hour}` : `hours ${from}–${from + step - 1}`) + `: ${how}`;
    figure.dataset.hour = hour;
  };
  views.addEventListener("pointermove", (event) => {
    const figure = event.target.closest(".signal");
    if (!figure) return;
    const box = figure.getBoundingClientRect();
    tell(figure, Math.floor((event.clientX - box.left) / box.width * Number(figure.dataset.hours)));
  });
  views.addEventListener("pointerout", (event) => { const figure = event.target.closest(".signal"); if (figure && !figure.contains(event.relatedTarget)) tell(figure, null); });
  views.addEventListener("focusout", (event) => { const figure = event.target.closest(".signal"); if (figure) tell(figure, null); });
  views.addEventListener("keydown", (event) => {
    const figure = event.target.closest(".signal"), step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!figure || !step) return;
    event.preventDefault();
    tell(figure, "hour" in figure.dataset ? Number(figure.dataset.hour) + step : 0);
  });
})();
