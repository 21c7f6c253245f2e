// What listens to the mouse, the keyboard and the controls; nothing is drawn here.
function listenToPointer() {
  canvas.addEventListener("mousemove", (event) => {
    const cell = cellAt(event);
    const box = canvas.getBoundingClientRect();
    if (cell) showTip(cell, event.clientX - box.left, event.clientY - box.top);
    else tip.hidden = true;
  });
  canvas.addEventListener("mouseleave", () => {
    tip.hidden = true;
  });
  // A click waits for a second one: the first of a double-click would scroll the map away.
  let waiting = 0;
  canvas.addEventListener("click", (event) => {
    const cell = cellAt(event);
    clearTimeout(waiting);
    if (!cell || event.detail > 1) return;
    cursor.stream = cell.stream;
    cursor.day = cell.from;
    waiting = setTimeout(() => openCell(cell), 220);
  });
  canvas.addEventListener("dblclick", (event) => {
    const cell = cellAt(event);
    clearTimeout(waiting);
    tip.hidden = true;
    if (cell) zoom(Math.floor((cell.from + cell.to) / 2), true);
  });
}

function listenToKeys() {
  const actions = {
    ArrowLeft: () => moveCursor(0, -1),
    ArrowRight: () => moveCursor(0, 1),
    ArrowUp: () => moveCursor(-1, 0),
    ArrowDown: () => moveCursor(1, 0),
    Home: () => moveCursor(0, -days),
    End: () => moveCursor(0, days),
    Enter: () => openCell(cursorCell()),
    " ": () => openCell(cursorCell()),
    "+": () => zoom(cursor.day, true),
    "-": () => zoom(cursor.day, false),
  };
  canvas.addEventListener("keydown", (event) => {
    if (!(event.key in actions) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    actions[event.key]();
  });
  canvas.addEventListener("focus", () => {
    cursor.isShown = canvas.matches(":focus-visible");
    draw();
  });
  canvas.addEventListener("blur", () => {
    cursor.isShown = false;
    draw();
  });
  element("drill").addEventListener("keydown", (event) => {
    if (event.key === "Escape") backToMap();
  });
}

function backToMap() {
  element("drill").hidden = true;
  canvas.focus();
  element("map").scrollIntoView({ block: "start" });
}

function listenToControls() {
  element("period").addEventListener("change", (event) => {
    const { from, to } = periods[event.target.selectedIndex];
    setView(from, to);
  });
  element("earlier").addEventListener("click", () => setView(view.from - (view.to - view.from + 1), view.from - 1));
  element("later").addEventListener("click", () => setView(view.to + 1, 2 * view.to - view.from + 1));
  element("colour").addEventListener("change", (event) => {
    view.colour = event.target.value;
    element("share-scale").hidden = view.colour !== "share";
    draw();
  });
  element("drill-filter").addEventListener("input", showLines);
  element("drill-close").addEventListener("click", backToMap);
}

try {
  await load();
  fillPeriods();
  canvas.hidden = false;
  element("map-bar").hidden = false;
  listenToPointer();
  listenToKeys();
  listenToControls();
  setView(0, days - 1);
  new ResizeObserver(draw).observe(canvas.parentElement);
  // The map's texts are painted in the colours of the moment: on paper those of the paper.
  for (const query of ["(prefers-color-scheme: dark)", "print"]) matchMedia(query).addEventListener("change", draw);
  if (element("worst-table")) {
    element("worst-bar").hidden = false;
    makeSortable();
    element("worst-search").addEventListener("input", showWorst);
    showWorst();
  }
  document.documentElement.dataset.ready = "yes";
} catch (error) {
  element("trouble").textContent = `The map cannot be shown in this browser (${error.message}); the tables below are whole.`;
  element("trouble").hidden = false;
}
