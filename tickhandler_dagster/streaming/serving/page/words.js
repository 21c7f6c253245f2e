// Numbers as texts with their units, and small things of the document.
const facts = JSON.parse(document.getElementById("facts").textContent);
const element = (id) => document.getElementById(id);
const NOTHING = "–";

function tag(name, text = "", className = "") {
  const made = document.createElement(name);
  if (text !== "") made.textContent = text;
  if (className) made.className = className;
  return made;
}

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const grouped = (number) => number.toLocaleString("en-US");

// As many digits as a price of that size is read with; never fewer than it was sent with whole units.
function numberText(value, digits = 6) {
  if (!isNumber(value)) return NOTHING;
  const size = value === 0 ? 0 : Math.floor(Math.log10(Math.abs(value)));
  return value.toLocaleString("en-US", { maximumFractionDigits: Math.max(0, Math.min(12, digits - 1 - size)) });
}

function withUnit(value, unit, digits = 6) {
  return isNumber(value) ? `${numberText(value, digits)} ${unit}`.trim() : NOTHING;
}

// A time in the unit it is read in: a lag of 0.0123 s is 12.3 ms.
function durationText(us) {
  if (!isNumber(us)) return NOTHING;
  const size = Math.abs(us);
  if (size < 1e6) return `${(us / 1e3).toFixed(size < 1e4 ? 1 : 0)} ms`;
  if (size < 6e7) return `${(us / 1e6).toFixed(1)} s`;
  if (size < 3.6e9) return `${Math.floor(us / 6e7)} min ${Math.floor((us % 6e7) / 1e6)} s`;
  if (size < 8.64e10) return `${Math.floor(us / 3.6e9)} h ${Math.floor((us % 3.6e9) / 6e7)} min`;
  return `${grouped(Math.floor(us / 8.64e10))} d ${Math.floor((us % 8.64e10) / 3.6e9)} h`;
}

function sizeText(bytes) {
  if (!isNumber(bytes)) return NOTHING;
  const units = ["B", "kB", "MB", "GB", "TB"];
  const place = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3));
  return `${(bytes / 1000 ** place).toFixed(place ? 1 : 0)} ${units[place]}`;
}

const percentText = (share) => (isNumber(share) ? `${(share >= 1 ? 100 : Math.min(99.9, share * 100)).toFixed(share >= 1 ? 0 : 1)} %` : NOTHING);
const clockText = (ms, length = 19) => new Date(ms).toISOString().slice(11, length);
const dayText = (ms) => new Date(ms).toISOString().slice(0, 10);
const rateText = (rate, unit) => (rate === null ? NOTHING : `${numberText(rate, rate < 10 ? 2 : 3)} ${unit}`);

// How fast counters rise, over the newest half minute of what the engine said.
function makeRate(span = 30_000) {
  const seen = [];
  return (at, count) => {
    const last = seen[seen.length - 1];
    if (last && (count < last.count || at < last.at)) seen.length = 0;
    if (!last || at > last.at) seen.push({ at, count });
    while (seen.length > 2 && at - seen[0].at > span) seen.shift();
    const first = seen[0];
    return seen.length < 2 || at === first.at ? null : ((count - first.count) * 1000) / (at - first.at);
  };
}
