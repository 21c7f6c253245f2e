// Bars on a canvas: price, volume, spread and imbalance over one axis of time.
const canvas = element("chart");
const EDGE = { left: 4, right: 74, top: 7, bottom: 24 };
const PANELS = [
  { name: "price", share: 0.56, title: "" },
  { name: "volume", share: 0.14, title: "volume", unit: facts.units.volume },
  { name: "spread", share: 0.15, title: "quoted spread, time-weighted", unit: facts.units.spread_tw_bps },
  { name: "imbalance", share: 0.15, title: "queue imbalance, time-weighted", unit: "−1 ask … 1 bid" },
];
const GAP_BETWEEN = 24;
const MIN_STEP = 6;
const isGap = (bar) => bar.status === "vendor_gap" || bar.status === "not_ingested" || (isNumber(bar.coverage) && bar.coverage < 1);

function colours() {
  const style = getComputedStyle(document.documentElement);
  const names = ["card", "ink", "soft", "rule", "up", "down", "amended", "gap", "line", "accent"];
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

// About `wanted` round values within a range.
function niceTicks(low, high, wanted) {
  const rough = (high - low) / wanted;
  if (!(rough > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
  const ticks = [];
  for (let at = Math.ceil(low / step); at * step <= high + step * 1e-9; at += 1) ticks.push(Number((at * step).toPrecision(12)));
  return ticks;
}

function rangeOf(values, pad) {
  const numbers = values.filter(isNumber);
  if (!numbers.length) return null;
  const low = Math.min(...numbers);
  const high = Math.max(...numbers);
  const room = (high - low || Math.abs(high) * 1e-4 || 1) * pad;
  return [low - room, high + room];
}

// Where everything is: the newest bar's slot is the last one, bars that are missing leave theirs empty.
function layout(bars, length, width, height) {
  const plot = width - EDGE.left - EDGE.right;
  const known = bars.length ? Math.round((bars[bars.length - 1].at - bars[0].at) / length) + 1 : 0;
  const slots = Math.max(40, Math.min(facts.newest, known, Math.floor(plot / MIN_STEP)));
  const step = plot / slots;
  const end = bars.length ? bars[bars.length - 1].at + length : 0;
  const start = end - slots * length;
  const free = height - EDGE.top - EDGE.bottom - GAP_BETWEEN * (PANELS.length - 1);
  const panels = {};
  let top = EDGE.top;
  for (const panel of PANELS) {
    panels[panel.name] = { ...panel, top, height: free * panel.share };
    top += free * panel.share + GAP_BETWEEN;
  }
  const x = (at) => EDGE.left + ((at - start) / length) * step;
  return { width, height, plot, step, start, end, slots, panels, length, x };
}

function scale(panel, range) {
  const [low, high] = range;
  return (value) => panel.top + panel.height - ((value - low) / (high - low)) * panel.height;
}

function drawAxis(pen, place, panel, range, paint, wanted, format = (value) => numberText(value, 8)) {
  const y = scale(panel, range);
  pen.font = "11px system-ui, sans-serif";
  pen.textBaseline = "middle";
  pen.textAlign = "left";
  for (const tick of niceTicks(range[0], range[1], wanted)) {
    const at = Math.round(y(tick)) + 0.5;
    if (at < panel.top - 1 || at > panel.top + panel.height + 1) continue;
    pen.strokeStyle = paint.rule;
    pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(EDGE.left, at);
    pen.lineTo(place.width - EDGE.right, at);
    pen.stroke();
    pen.fillStyle = paint.soft;
    pen.fillText(format(tick), place.width - EDGE.right + 8, at);
  }
}

function drawTitle(pen, panel, paint) {
  if (!panel.title) return;
  pen.font = "11px system-ui, sans-serif";
  pen.textAlign = "left";
  pen.textBaseline = "alphabetic";
  pen.fillStyle = paint.soft;
  pen.fillText(`${panel.title} (${panel.unit})`, EDGE.left, panel.top - 6);
}

function drawTimes(pen, place, paint) {
  pen.font = "11px system-ui, sans-serif";
  pen.textAlign = "center";
  pen.textBaseline = "alphabetic";
  pen.fillStyle = paint.soft;
  const lengths = [15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 432000, 864000, 1728000, 3456000].map((s) => s * 1000);
  const span = place.slots * place.length;
  const step = lengths.find((one) => one >= place.length && span / one <= place.plot / 90) || span;
  for (let at = Math.ceil(place.start / step) * step; at < place.end; at += step) {
    const x = place.x(at);
    if (x < 26 || x > place.width - EDGE.right - 10) continue;
    const isDay = at % 86_400_000 === 0;
    pen.fillText(isDay ? dayText(at).slice(5) : clockText(at, step < 60_000 ? 19 : 16), x, place.height - 6);
  }
}

function hatch(pen, paint) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 8;
  const small = tile.getContext("2d");
  small.strokeStyle = paint.gap;
  small.lineWidth = 1.3;
  for (const shift of [-8, 0, 8]) {
    small.moveTo(shift, 8);
    small.lineTo(shift + 8, 0);
  }
  small.stroke();
  return pen.createPattern(tile, "repeat");
}

function drawGaps(pen, place, bars, paint) {
  const pattern = hatch(pen, paint);
  const { price } = place.panels;
  for (const bar of bars.filter(isGap)) {
    const x = place.x(bar.at);
    pen.globalAlpha = 0.55;
    pen.fillStyle = pattern;
    pen.fillRect(x, price.top, place.step, price.height);
    pen.globalAlpha = 1;
  }
}

function drawCandle(pen, place, bar, y, paint) {
  const wide = Math.max(1, Math.min(16, Math.floor(place.step * 0.68)));
  const middle = place.x(bar.at) + place.step / 2;
  const left = Math.round(middle - wide / 2);
  const colour = bar.close >= bar.open ? paint.up : paint.down;
  const top = y(Math.max(bar.open, bar.close));
  const tall = Math.max(2, y(Math.min(bar.open, bar.close)) - top);
  pen.strokeStyle = pen.fillStyle = colour;
  pen.lineWidth = 1.2;
  pen.beginPath();
  pen.moveTo(left + wide / 2, y(bar.high));
  pen.lineTo(left + wide / 2, top);
  pen.moveTo(left + wide / 2, top + tall);
  pen.lineTo(left + wide / 2, y(bar.low));
  pen.stroke();
  if (bar.stage === "provisional" && wide > 3) pen.strokeRect(left + 0.6, top + 0.6, wide - 1.2, Math.max(0.4, tall - 1.2));
  else pen.fillRect(left, top, wide, tall);
}

function drawDiamond(pen, x, y, paint) {
  pen.fillStyle = paint.amended;
  pen.beginPath();
  pen.moveTo(x, y - 5);
  pen.lineTo(x + 5, y);
  pen.lineTo(x, y + 5);
  pen.lineTo(x - 5, y);
  pen.fill();
}

// Above the bar; above the price before it where nobody traded.
function diamondTop(bar, before, y, panel) {
  const price = isNumber(bar.high) ? bar.high : before;
  return price === null ? panel.top + 8 : Math.max(panel.top + 6, y(price) - 11);
}

function drawPrices(pen, place, bars, paint) {
  const panel = place.panels.price;
  const range = rangeOf(bars.flatMap((bar) => [bar.low, bar.high]), 0.08);
  if (!range) return;
  drawAxis(pen, place, panel, range, paint, 6);
  const y = scale(panel, range);
  let before = null;
  for (const bar of bars) {
    const x = place.x(bar.at);
    if (isNumber(bar.close)) {
      drawCandle(pen, place, bar, y, paint);
      before = bar.close;
    } else if (bar.status === "no_trade" && before !== null) {
      pen.fillStyle = paint.soft;
      pen.fillRect(x + place.step * 0.16, Math.round(y(before)) - 1, Math.max(2, place.step * 0.68), 2);
    }
    if (bar.stage === "amended") drawDiamond(pen, x + place.step / 2, diamondTop(bar, before, y, panel), paint);
  }
  drawLast(pen, place, y, before, paint);
}

function drawLast(pen, place, y, price, paint) {
  if (price === null) return;
  const at = Math.round(y(price)) + 0.5;
  pen.strokeStyle = paint.accent;
  pen.setLineDash([3, 3]);
  pen.beginPath();
  pen.moveTo(EDGE.left, at);
  pen.lineTo(place.width - EDGE.right, at);
  pen.stroke();
  pen.setLineDash([]);
  pen.fillStyle = paint.card;
  pen.fillRect(place.width - EDGE.right + 1, at - 16, EDGE.right, 32);
  pen.fillStyle = paint.accent;
  pen.fillRect(place.width - EDGE.right + 2, at - 9, EDGE.right - 4, 18);
  pen.fillStyle = paint.card;
  pen.textAlign = "left";
  pen.textBaseline = "middle";
  pen.font = "600 11px system-ui, sans-serif";
  pen.fillText(numberText(price, 8), place.width - EDGE.right + 8, at + 0.5);
}

function drawVolumes(pen, place, bars, paint) {
  const panel = place.panels.volume;
  const highest = Math.max(0, ...bars.map((bar) => bar.volume).filter(isNumber));
  if (!highest) return;
  const range = [0, highest * 1.25];
  drawAxis(pen, place, panel, range, paint, 2);
  const y = scale(panel, range);
  const wide = Math.max(1, Math.min(16, Math.floor(place.step * 0.68)));
  for (const bar of bars.filter((one) => isNumber(one.volume) && one.volume > 0)) {
    const left = Math.round(place.x(bar.at) + place.step / 2 - wide / 2);
    pen.globalAlpha = bar.stage === "provisional" ? 0.35 : 0.6;
    pen.fillStyle = bar.close >= bar.open ? paint.up : paint.down;
    pen.fillRect(left, y(bar.volume), wide, y(0) - y(bar.volume));
  }
  pen.globalAlpha = 1;
}

// A line that breaks where a value is undefined or a bar is missing.
function drawLine(pen, place, bars, panel, column, range, paint) {
  const y = scale(panel, range);
  pen.strokeStyle = pen.fillStyle = paint.line;
  pen.lineWidth = 1.5;
  pen.lineJoin = "round";
  pen.beginPath();
  let last = null;
  for (const bar of bars) {
    if (!isNumber(bar[column])) continue;
    const x = place.x(bar.at) + place.step / 2;
    if (last !== null && bar.at - last === place.length) pen.lineTo(x, y(bar[column]));
    else pen.moveTo(x, y(bar[column]));
    last = bar.at;
  }
  pen.stroke();
  for (const [spot, bar] of bars.entries()) {
    const isAlone = [bars[spot - 1], bars[spot + 1]].every((other) => !other || !isNumber(other[column]) || Math.abs(other.at - bar.at) !== place.length);
    if (isNumber(bar[column]) && isAlone) pen.fillRect(place.x(bar.at) + place.step / 2 - 1.5, y(bar[column]) - 1.5, 3, 3);
  }
}

function drawPointer(pen, place, bar, paint) {
  const x = Math.round(place.x(bar.at) + place.step / 2) + 0.5;
  pen.strokeStyle = paint.soft;
  pen.lineWidth = 1;
  pen.setLineDash([2, 3]);
  pen.beginPath();
  pen.moveTo(x, 0);
  pen.lineTo(x, place.height - EDGE.bottom);
  pen.stroke();
  pen.setLineDash([]);
}

let place = null;

function draw(bars, length, pointed) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const paint = colours();
  place = layout(bars, length, width, height);
  const shown = bars.filter((bar) => bar.at >= place.start);
  drawGaps(pen, place, shown, paint);
  drawPrices(pen, place, shown, paint);
  drawVolumes(pen, place, shown, paint);
  const { spread, imbalance } = place.panels;
  const spreads = rangeOf(shown.map((bar) => bar.spread_tw_bps), 0.25);
  if (spreads) {
    const range = [Math.max(0, spreads[0]), spreads[1]];
    drawAxis(pen, place, spread, range, paint, 3);
    drawLine(pen, place, shown, spread, "spread_tw_bps", range, paint);
  }
  if (shown.length) {
    drawAxis(pen, place, imbalance, [-1, 1], paint, 2);
    drawLine(pen, place, shown, imbalance, "queue_imbalance_tw", [-1, 1], paint);
    drawTimes(pen, place, paint);
    Object.values(place.panels).forEach((panel) => drawTitle(pen, panel, paint));
  }
  if (pointed) drawPointer(pen, place, pointed, paint);
}

// The time of the bar under a point of the page.
function timeAt(clientX) {
  const x = clientX - canvas.getBoundingClientRect().left;
  const slot = Math.floor((x - EDGE.left) / place.step);
  return place.start + Math.max(0, Math.min(place.slots - 1, slot)) * place.length;
}
