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
  const open = () => {
    const target = location.hash.length > 1 ? byId(decodeURIComponent(location.hash.slice(1))) : null;
    const named = target && target.closest(".patient");
    const shown = named || views.querySelector(".shown") || views.firstElementChild;
    for (const view of views.children) view.classList.toggle("shown", view === shown);
    for (const link of list.querySelectorAll("a")) {
      const current = link.hash === `#${shown.id}`;
      if (current) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
    }
    if (named) { target.scrollIntoView(); if (target === named) named.focus({ preventScroll: true }); }
  };
  addEventListener("hashchange", open);
  open();

  const items = [...list.children], controls = byId("controls"), search = byId("search"), sort = byId("sort"), found = byId("found");
  controls.hidden = false;
  controls.addEventListener("submit", (event) => event.preventDefault());
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    for (const item of items) {
      const text = `${item.dataset.id} ${item.dataset.diseases}`.toLowerCase();
      item.hidden = !words.every((word) => text.includes(word));
      left += item.hidden ? 0 : 1;
    }
    found.textContent = `${left} of ${items.length} patients`;
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
  sort.addEventListener("change", order);
  filter();

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
