// The table of the worst instruments: sorted and searched.
const MAX_WORST_LINES = 300;
const worstOrder = { by: "", isDescending: true };

const worstValue = {
  venue: (place) => streams[data.worst.stream[place]][0],
  type: (place) => streams[data.worst.stream[place]][1],
  key: (place) => instrumentText(data.worst.instrument_key[place]),
  missing: (place) => data.worst.missing_days[place],
  partial: (place) => data.worst.partial_days[place],
  gap: (place) => data.worst.gap_us[place],
  lost: (place) => data.worst.lost_trades[place] ?? -1,
};

function worstRow(place) {
  const { worst } = data;
  const row = tag("tr");
  const link = tag("button", worstValue.key(place), "link");
  link.type = "button";
  link.addEventListener("click", () => openInstrument(worst.stream[place], worst.instrument_key[place]));
  const name = tag("td");
  name.append(link);
  row.append(tag("td", worstValue.venue(place)), tag("td", worstValue.type(place)), name);
  for (const text of [
    grouped(worst.missing_days[place]),
    grouped(worst.partial_days[place]),
    durationText(worst.gap_us[place]),
    worst.lost_trades[place] === null ? "n/a" : grouped(worst.lost_trades[place]),
  ]) row.append(tag("td", text, "number"));
  return row;
}

function compare(one, other) {
  if (one === other) return 0;
  return one < other ? -1 : 1;
}

function showWorst() {
  const words = element("worst-search").value.trim().toLowerCase().split(/\s+/);
  const text = (place) => `${worstValue.venue(place)} ${worstValue.type(place)} ${worstValue.key(place)}`.toLowerCase();
  const places = data.worst.stream.map((_, place) => place).filter((place) => words.every((word) => text(place).includes(word)));
  if (worstOrder.by) {
    const value = worstValue[worstOrder.by];
    const sign = worstOrder.isDescending ? -1 : 1;
    places.sort((one, other) => sign * compare(value(one), value(other)) || one - other);
  }
  element("worst-table").tBodies[0].replaceChildren(...places.slice(0, MAX_WORST_LINES).map(worstRow));
  const part = places.length > MAX_WORST_LINES ? `the first ${MAX_WORST_LINES} of ` : "";
  element("worst-shown").textContent = `${part}${grouped(places.length)} ${places.length === 1 ? "line" : "lines"}`;
}

function makeSortable() {
  for (const cell of element("worst-table").tHead.rows[0].cells) {
    const button = tag("button", cell.textContent);
    button.type = "button";
    cell.replaceChildren(button);
    button.addEventListener("click", () => {
      const by = cell.dataset.sort;
      // Numbers begin with the largest, names with the first letter.
      worstOrder.isDescending = worstOrder.by === by ? !worstOrder.isDescending : cell.className === "number";
      worstOrder.by = by;
      for (const one of cell.parentElement.cells) one.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", worstOrder.isDescending ? "descending" : "ascending");
      showWorst();
    });
  }
}
