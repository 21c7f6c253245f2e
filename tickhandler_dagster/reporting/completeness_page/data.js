// The packed numbers as typed columns, and their words. Drawing and tables are in the other scripts.
const DAY_MS = 86_400_000;
const head = JSON.parse(document.getElementById("head").textContent);
const startMs = Date.parse(`${head.start}T00:00:00Z`);
const { states, streams, days } = head;
const element = (id) => document.getElementById(id);
const grouped = (number) => number.toLocaleString("en-US");

// A cell without a table has one row that speaks for all of its instruments.
const instrumentText = (number) => (data.texts[number] === head.wholeCell ? "all instruments" : data.texts[number]);
const dayText = (day) => new Date(startMs + day * DAY_MS).toISOString().slice(0, 10);
const daysText = (from, to) => (from === to ? dayText(from) : `${dayText(from)} – ${dayText(to)}`);

function timeText(us) {
  const text = new Date(Math.floor(us / 1000)).toISOString();
  return `${text.slice(0, 10)} ${text.slice(11, 23)}`;
}

// From one time to another; the day is said once where both are on it.
function spanText(from, to) {
  const [start, end] = [timeText(from), timeText(to)];
  return `${start} to ${start.slice(0, 10) === end.slice(0, 10) ? end.slice(11) : end}`;
}

function durationText(us) {
  const seconds = us / 1e6;
  const units = [["d", 86_400], ["h", 3_600], ["min", 60], ["s", 1]];
  for (let place = 0; place < 3; place += 1) {
    const [name, length] = units[place];
    if (seconds >= length) {
      const [below, part] = units[place + 1];
      return `${grouped(Math.floor(seconds / length))} ${name} ${Math.floor((seconds % length) / part)} ${below}`;
    }
  }
  return `${Number(seconds.toFixed(6))} s`;
}

async function unpack() {
  const bytes = Uint8Array.from(atob(element("data").textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

// For each stream: the states that occur there, each with its count on every day.
function countsByStream(packed) {
  const found = streams.map(() => []);
  for (const [stream, state, isWhole, runs] of packed) {
    const line = new Uint32Array(days);
    let day = 0;
    for (let place = 0; place < runs.length; place += 2) {
      line.fill(runs[place], day, day + runs[place + 1]);
      day += runs[place + 1];
    }
    found[stream].push({ state, isWhole: Boolean(isWhole), line });
  }
  return found;
}

// The worst state (-1: nothing listed) and the complete share (NaN: nothing expected) of every day.
function summarize(lines) {
  const worst = new Int8Array(days).fill(-1);
  const complete = new Float64Array(days);
  const expected = new Float64Array(days);
  for (const { state, line } of lines) {
    for (let day = 0; day < days; day += 1) {
      if (line[day] === 0) continue;
      if (state > worst[day]) worst[day] = state;
      if (states[state].complete) complete[day] += line[day];
      if (states[state].expected) expected[day] += line[day];
    }
  }
  return { worst, share: complete.map((count, day) => count / expected[day]) };
}

const counts = [];
const summaries = [];
let data = null;

async function load() {
  data = await unpack();
  counts.push(...countsByStream(data.counts));
  summaries.push(...counts.map(summarize));
}

// Counts of a stream over days, the worst state first.
function countsOf(stream, from, to) {
  const sums = [];
  for (const { state, isWhole, line } of counts[stream]) {
    let sum = 0;
    for (let day = from; day <= to; day += 1) sum += line[day];
    if (sum) sums.push({ state, isWhole, sum });
  }
  return sums.sort((one, other) => other.state - one.state);
}

function countWords({ isWhole, sum }, isOneDay) {
  if (isWhole) return isOneDay ? "no table" : `${grouped(sum)} ${sum === 1 ? "day" : "days"} without a table`;
  return grouped(sum);
}

function shareText(stream, from, to) {
  let sum = 0;
  let cells = 0;
  for (let day = from; day <= to; day += 1) {
    const share = summaries[stream].share[day];
    if (!Number.isNaN(share)) {
      sum += share;
      cells += 1;
    }
  }
  if (!cells) return "nothing expected";
  const share = sum / cells;
  return share >= 1 ? "100 % complete" : `${(Math.floor(share * 10_000) / 100).toFixed(2)} % complete`;
}

function swatch(state) {
  const mark = document.createElement("i");
  mark.className = `swatch s-${states[state].name}`;
  mark.setAttribute("aria-hidden", "true");
  return mark;
}

function tag(name, text = "", className = "") {
  const made = document.createElement(name);
  if (text !== "") made.textContent = text;
  if (className) made.className = className;
  return made;
}
