// What is shown, where it comes from, and what happens when it stops coming.
const RETRY_MS = 3_000;
const SILENCE_MS = 8_000;
const LIST_MS = 10_000;
const query = new URLSearchParams(location.search);
const token = query.get("token");
const shown = { instrument: "", timeframe: "1m", bars: new Map(), pointedAt: null };
const link = { events: null, id: "", heardAt: 0, barAt: 0, isOpen: false, dropped: 0, status: null, refusal: "" };

const lengthMs = () => facts.lengths[shown.timeframe] / 1000;
const sortedBars = () => [...shown.bars.values()].sort((one, other) => one.at - other.at);
const address = (path, fields) => `${path}?${new URLSearchParams(token ? { ...fields, token } : fields)}`;

// ---- bars -----------------------------------------------------------------------------------

function takeBars(message) {
  link.dropped = message.dropped;
  for (const bar of message.bars) {
    if (bar.instrument_key !== shown.instrument || bar.timeframe !== shown.timeframe) continue;
    const at = Date.parse(bar.ts_open);
    const known = shown.bars.get(at);
    if (!known || bar.revision >= known.revision) shown.bars.set(at, { ...bar, at });
  }
  const times = [...shown.bars.keys()].sort((one, other) => one - other);
  times.slice(0, Math.max(0, times.length - facts.newest)).forEach((at) => shown.bars.delete(at));
  link.barAt = performance.now();
  show();
}

function stageText(bar) {
  return bar.revision > 1 ? `${bar.stage}, revision ${bar.revision}` : bar.stage;
}

function delayText(bar) {
  const late = (Date.parse(bar.published_at) - Date.parse(bar.ts_close)) * 1000;
  return Number.isNaN(late) ? NOTHING : `${durationText(late)} after its end`;
}

function readoutLines(bar) {
  const { units } = facts;
  return [
    ["bar opens, UTC", `${dayText(bar.at).slice(5)} ${clockText(bar.at)}`],
    ["open", numberText(bar.open, 8)],
    ["high", numberText(bar.high, 8)],
    ["low", numberText(bar.low, 8)],
    ["close", numberText(bar.close, 8)],
    ["volume", withUnit(bar.volume, units.volume)],
    ["trades", isNumber(bar.trade_count) ? grouped(bar.trade_count) : NOTHING],
    ["spread", withUnit(bar.spread_tw_bps, "bp", 4)],
    ["imbalance", numberText(bar.queue_imbalance_tw, 3)],
    ["content", String(bar.status).replace("_", " ")],
    ["observed", percentText(bar.coverage)],
    ["stage", stageText(bar)],
    ["published", delayText(bar)],
  ];
}

function showReadout(bar) {
  const lines = readoutLines(bar).map(([name, text]) => {
    const line = tag("div");
    const value = tag("dd", text);
    if (name === "bar opens, UTC") value.title = bar.ts_open;
    if (name === "stage") value.title = facts.stages[bar.stage] || "";
    if (name === "content") value.title = facts.statuses[bar.status] || "";
    line.append(tag("dt", name), value);
    return line;
  });
  element("readout").replaceChildren(...lines);
}

function showPrice(bars) {
  const traded = bars.filter((bar) => isNumber(bar.close));
  const [before, last] = [traded[traded.length - 2], traded[traded.length - 1]];
  element("last-close").textContent = last ? numberText(last.close, 8) : NOTHING;
  const change = element("last-change");
  const bp = before && last ? (last.close / before.close - 1) * 1e4 : null;
  change.textContent = bp === null ? "" : `${bp > 0 ? "+" : ""}${bp.toFixed(1)} bp on the bar before`;
  change.className = bp === null || bp === 0 ? "nil" : bp > 0 ? "good" : "bad";
}

function show() {
  const bars = sortedBars();
  const pointed = shown.pointedAt === null ? null : shown.bars.get(shown.pointedAt);
  element("nothing").hidden = bars.length > 0;
  showPrice(bars);
  if (bars.length) showReadout(pointed || bars[bars.length - 1]);
  else element("readout").replaceChildren();
  draw(bars, lengthMs(), pointed);
}

// ---- pointing -------------------------------------------------------------------------------

function point(at, isSaid) {
  shown.pointedAt = at;
  show();
  const bar = shown.bars.get(at);
  if (isSaid && bar) element("said").textContent = readoutLines(bar).map((line) => line.join(" ")).join(", ");
}

function moveBy(steps) {
  const times = sortedBars().map((bar) => bar.at);
  if (!times.length) return;
  const place = shown.pointedAt === null ? times.length - 1 : times.indexOf(shown.pointedAt) + steps;
  point(times[Math.max(0, Math.min(times.length - 1, place))], true);
}

const KEYS = {
  ArrowLeft: () => moveBy(-1),
  ArrowRight: () => moveBy(1),
  Home: () => moveBy(-Infinity),
  End: () => moveBy(Infinity),
  Escape: () => point(null, false),
};

canvas.addEventListener("keydown", (event) => {
  if (!KEYS[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  KEYS[event.key]();
});
canvas.addEventListener("pointermove", (event) => {
  const at = place ? timeAt(event.clientX) : null;
  if (at !== shown.pointedAt) point(shown.bars.has(at) ? at : null, false);
});
canvas.addEventListener("pointerleave", () => point(null, false));

// ---- choosing -------------------------------------------------------------------------------

function choose(instrument, timeframe) {
  if (instrument === shown.instrument && timeframe === shown.timeframe && link.events) return;
  Object.assign(shown, { instrument, timeframe, bars: new Map(), pointedAt: null });
  Object.assign(link, { id: "", barAt: performance.now(), dropped: 0 });
  element("instrument").value = instrument;
  element("timeframes").querySelector(`[value="${timeframe}"]`).checked = true;
  history.replaceState(null, "", `#${new URLSearchParams({ instrument, timeframe })}`);
  document.title = `${instrument || "Live bars"} ${timeframe}`;
  show();
  listen();
}

function fillInstruments(keys) {
  const select = element("instrument");
  const known = [...select.options].map((option) => option.value);
  const all = shown.instrument && !keys.includes(shown.instrument) ? [...keys, shown.instrument].sort() : keys;
  if (all.join() === known.join()) return;
  select.replaceChildren(...all.map((key) => new Option(key, key)));
  select.value = shown.instrument;
}

async function refreshInstruments() {
  try {
    const answer = await fetch(address("status", {}));
    if (!answer.ok) throw new Error(await answer.text());
    link.refusal = "";
    const { instruments } = await answer.json();
    fillInstruments(instruments);
    if (!shown.instrument && instruments.length) choose(instruments[0], shown.timeframe);
  } catch (error) {
    link.refusal = error instanceof TypeError ? "" : error.message.trim();
  }
}

// Soon again while there is nothing to choose from.
async function keepInstruments() {
  await refreshInstruments();
  setTimeout(keepInstruments, shown.instrument ? LIST_MS : RETRY_MS / 3);
}

element("instrument").addEventListener("change", (event) => choose(event.target.value, shown.timeframe));
element("timeframes").addEventListener("change", (event) => choose(shown.instrument, event.target.value));

// ---- listening ------------------------------------------------------------------------------

function listen() {
  if (link.events) link.events.close();
  const fields = {
    instruments: shown.instrument || "no instrument yet",
    timeframes: shown.timeframe,
    columns: facts.columns.join(","),
    ...(link.id ? { resume: link.id } : { newest: facts.newest }),
  };
  const events = new EventSource(address("events", fields));
  link.events = events;
  const heard = (take) => (event) => {
    if (events !== link.events) return;
    link.heardAt = performance.now();
    link.id = event.lastEventId || link.id;
    take(JSON.parse(event.data));
    showState();
  };
  events.addEventListener("bars", heard(takeBars));
  events.addEventListener("status", heard((status) => {
    link.status = status;
    showEngine(status);
  }));
  events.onopen = () => {
    if (events === link.events) link.isOpen = true;
  };
  events.onerror = () => {
    if (events !== link.events) return;
    link.isOpen = false;
    showState();
    // Broken connections are retried by the browser; refusals (a wrong token, a server that is
    // not ready) are not.
    if (events.readyState === EventSource.CLOSED) setTimeout(() => events === link.events && listen(), RETRY_MS);
  };
}

// ---- saying how it is -----------------------------------------------------------------------

function troubles(silentMs) {
  const found = [];
  if (link.refusal) found.push(link.refusal);
  if (link.dropped) found.push(`This page was too slow: ${grouped(link.dropped)} bars were left out. Reload it for the newest.`);
  const health = link.status && link.status.health;
  if (health) found.push(...health.faults, ...health.warnings);
  const waitedMs = performance.now() - link.barAt;
  if (silentMs < SILENCE_MS && shown.bars.size && waitedMs > 2 * lengthMs() + 10_000) {
    found.push(`No new bar of ${shown.instrument} for ${durationText(waitedMs * 1000)}: what is shown is old.`);
  }
  return found;
}

function showState() {
  const silentMs = performance.now() - link.heardAt;
  const isWell = link.status && link.status.health.is_well;
  const pill = element("state");
  let [text, look] = ["live", "good"];
  if (!link.isOpen) [text, look] = [link.heardAt ? `reconnecting, data is ${durationText(silentMs * 1000)} old` : "connecting", "wait"];
  else if (silentMs > SILENCE_MS) [text, look] = [`stale: no word for ${durationText(silentMs * 1000)}`, "bad"];
  else if (!isWell) [text, look] = ["the engine is not well", "bad"];
  if (pill.textContent !== text) pill.textContent = text;
  pill.className = `pill ${look}`;
  const found = troubles(silentMs).join("\n");
  const notice = element("trouble");
  if (notice.textContent !== found) notice.textContent = found;
  notice.hidden = !found;
}

new ResizeObserver(() => show()).observe(canvas);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
setInterval(showState, 1_000);
const wished = new URLSearchParams(location.hash.slice(1));
const wishedTimeframe = wished.get("timeframe");
choose(wished.get("instrument") || "", wishedTimeframe in facts.lengths ? wishedTimeframe : "15s");
keepInstruments();
