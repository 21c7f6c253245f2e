// The map: a row for each stream, a column for each day or for some days where they do not fit.
const ROW = 17;
const TOP = 30;
const LEFT = 250;
const MIN_COLUMN = 3;
const SHARE_RAMP = [[59, 82, 139], [123, 123, 132], [181, 167, 107], [254, 232, 56]];
const WEEKS_AROUND = 15;

const canvas = element("heatmap");
const tip = element("tip");
const view = { from: 0, to: days - 1, colour: "worst" };
const cursor = { stream: 0, day: 0, isShown: false };
const periods = [{ text: "whole span", from: 0, to: days - 1 }];

function shareColour(share) {
  const place = Math.max(0, Math.min(1, share)) * (SHARE_RAMP.length - 1);
  const below = Math.min(Math.floor(place), SHARE_RAMP.length - 2);
  const mix = SHARE_RAMP[below].map((one, part) => one + (SHARE_RAMP[below + 1][part] - one) * (place - below));
  return `rgb(${mix.map(Math.round).join(" ")})`;
}

function layout() {
  const width = canvas.clientWidth - LEFT;
  const shown = view.to - view.from + 1;
  const perColumn = Math.max(1, Math.ceil((shown * MIN_COLUMN) / width));
  const columns = Math.ceil(shown / perColumn);
  // Few days are not stretched to tiles as wide as a hand.
  return { perColumn, columns, columnWidth: Math.min(width / columns, 48) };
}

function columnDays(column, perColumn) {
  const from = view.from + column * perColumn;
  return [from, Math.min(from + perColumn - 1, view.to)];
}

function cellColour(stream, from, to) {
  const { worst, share } = summaries[stream];
  let found = -1;
  let sum = 0;
  let cells = 0;
  for (let day = from; day <= to; day += 1) {
    found = Math.max(found, worst[day]);
    if (!Number.isNaN(share[day])) {
      sum += share[day];
      cells += 1;
    }
  }
  if (found < 0) return null;
  if (view.colour === "share") return cells ? shareColour(sum / cells) : states[found].colour;
  return states[found].name === "not_ingested" ? "hatch" : states[found].colour;
}

function hatch(pen, ratio) {
  const tile = document.createElement("canvas");
  tile.width = 6 * ratio;
  tile.height = 6 * ratio;
  const brush = tile.getContext("2d");
  brush.scale(ratio, ratio);
  brush.fillStyle = states.find((state) => state.name === "not_ingested").colour;
  brush.fillRect(0, 0, 6, 6);
  brush.strokeStyle = "#8a939e";
  brush.lineWidth = 1.2;
  brush.beginPath();
  for (const shift of [-6, 0, 6]) {
    brush.moveTo(shift, 6);
    brush.lineTo(shift + 6, 0);
  }
  brush.stroke();
  const pattern = pen.createPattern(tile, "repeat");
  pattern.setTransform(new DOMMatrix().scale(1 / ratio));
  return pattern;
}

function drawLabels(pen, style) {
  pen.textBaseline = "middle";
  pen.font = `11.5px ${style.fontFamily}`;
  let before = "";
  streams.forEach(([venue, type], stream) => {
    const middle = TOP + stream * ROW + ROW / 2 + 1;
    if (venue !== before) {
      pen.fillStyle = style.getPropertyValue("--rule");
      if (stream) pen.fillRect(0, TOP + stream * ROW - 0.5, canvas.clientWidth, 1);
      pen.fillStyle = style.getPropertyValue("--ink");
      pen.fillText(venue, 0, middle);
    }
    pen.fillStyle = style.getPropertyValue("--soft");
    pen.textAlign = "right";
    pen.fillText(type, LEFT - 10, middle);
    pen.textAlign = "left";
    before = venue;
  });
}

// A tick where a year, a month, a week or a day begins, whichever leaves room for its text.
function drawTicks(pen, style, { perColumn, columnWidth }) {
  const shown = view.to - view.from + 1;
  const dayWidth = columnWidth / perColumn;
  let last = -Infinity;
  for (let day = view.from; day <= view.to; day += 1) {
    const text = dayText(day);
    const isYear = text.endsWith("-01-01");
    const isMonth = text.endsWith("-01");
    if (!(isYear || day === view.from || (shown <= 800 && isMonth) || shown <= 62)) continue;
    const x = LEFT + (day - view.from) * dayWidth;
    const label = shown > 800 ? text.slice(0, 7) : shown <= 62 ? text.slice(5) : text.slice(0, 7);
    if (x - last < pen.measureText(label).width + 12) continue;
    pen.fillStyle = style.getPropertyValue("--soft");
    pen.fillText(label, x, 12);
    pen.fillRect(x, TOP - 8, 1, 6);
    last = x;
  }
}

function draw() {
  const ratio = window.devicePixelRatio || 1;
  const style = getComputedStyle(document.body);
  const height = TOP + streams.length * ROW + 2;
  canvas.style.height = `${height}px`;
  canvas.width = Math.round(canvas.clientWidth * ratio);
  canvas.height = Math.round(height * ratio);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const places = layout();
  const { perColumn, columns, columnWidth } = places;
  const inset = columnWidth > 6 ? 1 : 0;
  const hatched = hatch(pen, ratio);
  drawLabels(pen, style);
  drawTicks(pen, style, places);
  streams.forEach((_, stream) => {
    for (let column = 0; column < columns; column += 1) {
      const colour = cellColour(stream, ...columnDays(column, perColumn));
      pen.fillStyle = colour === "hatch" ? hatched : colour || style.getPropertyValue("--empty");
      const x = LEFT + column * columnWidth;
      // Neighbours overlap by a hair: without it the background shines through as stripes.
      pen.fillRect(x, TOP + stream * ROW + 1, columnWidth - inset + (inset ? 0 : 0.5), ROW - 2);
    }
  });
  if (cursor.isShown) drawCursor(pen, style, places);
}

function drawCursor(pen, style, { perColumn, columnWidth }) {
  const column = Math.floor((cursor.day - view.from) / perColumn);
  const x = LEFT + column * columnWidth;
  pen.strokeStyle = style.getPropertyValue("--card");
  pen.lineWidth = 4;
  pen.strokeRect(x - 1, TOP + cursor.stream * ROW, columnWidth + 1, ROW);
  pen.strokeStyle = style.getPropertyValue("--ink");
  pen.lineWidth = 2;
  pen.strokeRect(x - 1, TOP + cursor.stream * ROW, columnWidth + 1, ROW);
}

function cellAt(event) {
  const box = canvas.getBoundingClientRect();
  const { perColumn, columns, columnWidth } = layout();
  const column = Math.floor((event.clientX - box.left - LEFT) / columnWidth);
  const stream = Math.floor((event.clientY - box.top - TOP) / ROW);
  if (column < 0 || column >= columns || stream < 0 || stream >= streams.length) return null;
  const [from, to] = columnDays(column, perColumn);
  return { stream, from, to };
}

function cursorCell() {
  const { perColumn } = layout();
  const column = Math.floor((cursor.day - view.from) / perColumn);
  const [from, to] = columnDays(column, perColumn);
  return { stream: cursor.stream, from, to };
}

function describe({ stream, from, to }) {
  const [venue, type] = streams[stream];
  const parts = countsOf(stream, from, to).map(
    (count) => `${states[count.state].title}: ${countWords(count, from === to)}`,
  );
  return `${venue} ${type}, ${daysText(from, to)}: ${parts.length ? `${shareText(stream, from, to)}, ${parts.join(", ")}` : "nothing listed"}`;
}

function showTip(cell, x, y) {
  const { stream, from, to } = cell;
  tip.replaceChildren(tag("b", streams[stream].join(" · ")), tag("small", `${daysText(from, to)} · ${shareText(stream, from, to)}`));
  const found = countsOf(stream, from, to);
  for (const count of found) {
    const line = tag("span");
    const name = tag("em", states[count.state].title);
    name.prepend(swatch(count.state));
    line.append(name, tag("strong", countWords(count, from === to)));
    tip.append(line);
  }
  if (!found.length) tip.append(tag("span", "nothing listed"));
  tip.hidden = false;
  const right = x + 16 + tip.offsetWidth > canvas.clientWidth;
  tip.style.left = `${Math.max(0, right ? x - tip.offsetWidth - 12 : x + 16)}px`;
  tip.style.top = `${y + 18}px`;
}

function setView(from, to) {
  const shown = Math.min(to - from, days - 1);
  view.from = Math.max(0, Math.min(from, days - 1 - shown));
  view.to = view.from + shown;
  cursor.day = Math.max(view.from, Math.min(cursor.day, view.to));
  const place = periods.findIndex((period) => period.from === view.from && period.to === view.to);
  element("period").selectedIndex = place;
  element("earlier").disabled = view.from === 0;
  element("later").disabled = view.to === days - 1;
  draw();
}

function zoom(day, isCloser) {
  const shown = view.to - view.from + 1;
  const wanted = isCloser ? Math.max(Math.min(2 * WEEKS_AROUND + 1, days), Math.ceil(shown / 3)) : Math.min(days, shown * 3);
  const from = day - Math.floor(wanted / 2);
  setView(Math.max(0, from), Math.max(0, from) + wanted - 1);
}

function moveCursor(streamStep, columnStep) {
  const { perColumn } = layout();
  cursor.isShown = true;
  cursor.stream = Math.max(0, Math.min(cursor.stream + streamStep, streams.length - 1));
  cursor.day = Math.max(0, Math.min(cursor.day + columnStep * perColumn, days - 1));
  if (cursor.day < view.from) setView(cursor.day, cursor.day + view.to - view.from);
  else if (cursor.day > view.to) setView(cursor.day - (view.to - view.from), cursor.day);
  else draw();
  element("said").textContent = describe(cursorCell());
}

function fillPeriods() {
  const named = (length) => {
    let from = 0;
    for (let day = 1; day <= days; day += 1) {
      if (day < days && dayText(day).slice(0, length) === dayText(from).slice(0, length)) continue;
      periods.push({ text: dayText(from).slice(0, length), from, to: day - 1 });
      from = day;
    }
  };
  named(4);
  named(7);
  element("period").replaceChildren(...periods.map((period) => tag("option", period.text)));
}
