"use strict";

// Tables: a click on a heading sorts by it, numbers from the largest.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.querySelectorAll("th")];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const numeric = heading.classList.contains("n");
      const descending = heading.getAttribute("aria-sort") === "descending" ? false
        : heading.getAttribute("aria-sort") === "ascending" ? true : numeric;
      for (const other of headings) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const value = row => {
        const cell = row.cells[column];
        return numeric ? Number(cell.dataset.value || "-1") : cell.textContent.trim();
      };
      const body = table.tBodies[0];
      const rows = [...body.rows].sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        const order = numeric ? x - y : x.localeCompare(y);
        return descending ? -order : order;
      });
      body.append(...rows);
    });
  });
}

// Searching: rows that have the text stay.
for (const field of document.querySelectorAll("input[type=search]")) {
  const rows = document.querySelector(field.dataset.table).tBodies[0].rows;
  field.addEventListener("input", () => {
    const wanted = field.value.toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
}

// The drawing of the program: buttons and the wheel with Ctrl zoom, dragging moves.
const drawing = document.querySelector("#program-drawing");
if (drawing) {
  const whole = { w: Number(drawing.dataset.width), h: Number(drawing.dataset.height) };
  const view = { x: 0, y: 0, w: 0, h: 0 };
  const show = () => drawing.setAttribute("viewBox", `${view.x} ${view.y} ${view.w} ${view.h}`);
  const begin = () => {
    const box = drawing.getBoundingClientRect();
    view.w = Math.max(Math.min(whole.w, 1400), 980);
    view.h = view.w * box.height / Math.max(1, box.width);
    view.x = Math.min(0, (whole.w - view.w) / 2);
    view.y = 0;
    show();
  };
  const zoom = (factor, px, py) => {
    const w = Math.min(Math.max(view.w * factor, 200), 4 * Math.max(whole.w, whole.h, 1200));
    const scale = w / view.w;
    view.x += (view.w - view.w * scale) * px;
    view.y += (view.h - view.h * scale) * py;
    view.w = w;
    view.h *= scale;
    show();
  };
  drawing.addEventListener("wheel", event => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const box = drawing.getBoundingClientRect();
    zoom(event.deltaY > 0 ? 1.15 : 1 / 1.15, (event.clientX - box.left) / box.width,
      (event.clientY - box.top) / box.height);
  }, { passive: false });
  let from = null;
  drawing.addEventListener("pointerdown", event => {
    from = { x: event.clientX, y: event.clientY, vx: view.x, vy: view.y, moved: false };
  });
  addEventListener("pointermove", event => {
    if (!from) return;
    const box = drawing.getBoundingClientRect();
    const [dx, dy] = [event.clientX - from.x, event.clientY - from.y];
    from.moved = from.moved || Math.abs(dx) + Math.abs(dy) > 4;
    view.x = from.vx - dx * view.w / box.width;
    view.y = from.vy - dy * view.h / box.height;
    show();
  });
  addEventListener("pointerup", () => { setTimeout(() => { from = null; }); });
  for (const node of drawing.querySelectorAll(".node")) {
    node.addEventListener("click", () => {
      if (from && from.moved) return;
      const row = document.getElementById(`launch-${node.dataset.number}`);
      for (const other of document.querySelectorAll("tr.chosen")) other.classList.remove("chosen");
      row.closest("details").open = true;
      row.classList.add("chosen");
      row.scrollIntoView({ block: "center" });
    });
  }
  document.querySelector("#zoom-in").addEventListener("click", () => zoom(1 / 1.3, 0.5, 0.5));
  document.querySelector("#zoom-out").addEventListener("click", () => zoom(1.3, 0.5, 0.5));
  document.querySelector("#zoom-all").addEventListener("click", begin);
  begin();
}
