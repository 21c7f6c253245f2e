// The instruments behind a cell, or the days behind an instrument: states, reasons, holes.
const MAX_LINES = 400;
const drill = { lines: [], holes: new Map() };

// Holes by stream and instrument; made at the first question.
function holesByInstrument() {
  if (!drill.holes.size) {
    const { stream, instrument_key: instrument } = data.holes;
    stream.forEach((one, place) => {
      const key = `${one}/${instrument[place]}`;
      if (!drill.holes.has(key)) drill.holes.set(key, []);
      drill.holes.get(key).push(place);
    });
  }
  return drill.holes;
}

function holesOf(run, from, to) {
  const { runs, holes } = data;
  const first = Math.max(from, runs.first[run]);
  const last = Math.min(to, runs.last[run]);
  const key = `${runs.stream[run]}/${runs.instrument_key[run]}`;
  const places = holesByInstrument().get(key) || [];
  return places.filter((place) => holes.date[place] >= first && holes.date[place] <= last);
}

const kindMeaning = new Map(head.kinds);

function holeLine(place) {
  const { holes, texts } = data;
  const from = holes.gap_start[place];
  const to = holes.gap_end[place];
  const lost = holes.lost_trades[place];
  const line = tag("p", "", "hole");
  const kind = texts[holes.kind[place]];
  line.append(tag("strong", durationText(to - from)), ` from ${spanText(from, to)}`);
  const evidence = `${kind}: ${texts[holes.evidence[place]]}${lost === null ? "" : `; ${grouped(lost)} trades lost`}`;
  const small = tag("small", evidence);
  small.title = kindMeaning.get(kind) || "";
  line.append(small);
  return line;
}

function holesCell(run, from, to) {
  const cell = tag("td");
  const { runs } = data;
  const listed = holesOf(run, from, to);
  listed.slice(0, 20).forEach((place) => cell.append(holeLine(place)));
  if (listed.length > 20) cell.append(tag("small", `and ${grouped(listed.length - 20)} more in the lake's table of gaps`));
  if (!listed.length && runs.longest_gap_start[run] !== null) {
    const start = runs.longest_gap_start[run];
    const end = runs.longest_gap_end[run];
    const line = tag("p", "", "hole");
    line.append(tag("strong", durationText(end - start)), ` from ${spanText(start, end)}`);
    line.append(tag("small", `longest of ${grouped(runs.gaps[run])}, ${durationText(runs.gap_us[run])} in all`));
    cell.append(line);
  }
  return cell;
}

function drillRow({ run, from, to, isByInstrument }) {
  const { runs, texts } = data;
  const row = tag("tr");
  const key = texts[runs.instrument_key[run]];
  const name = tag("td");
  if (isByInstrument || key === head.wholeCell) name.append(instrumentText(runs.instrument_key[run]));
  else {
    const link = tag("button", key, "link");
    link.type = "button";
    link.addEventListener("click", () => openInstrument(runs.stream[run], runs.instrument_key[run]));
    name.append(link);
  }
  const state = tag("td", states[runs.state[run]].title);
  state.prepend(swatch(runs.state[run]));
  const length = runs.days[run];
  const dates = tag("td", daysText(runs.first[run], runs.last[run]));
  dates.append(tag("small", `${grouped(length)} ${length === 1 ? "day" : "days in a row"}`));
  row.append(name, state, tag("td", texts[runs.reason[run]]), dates, holesCell(run, from, to));
  return row;
}

function lineText({ run }) {
  const { runs, texts } = data;
  return `${instrumentText(runs.instrument_key[run])} ${states[runs.state[run]].title} ${texts[runs.reason[run]]}`.toLowerCase();
}

function showLines() {
  const words = element("drill-filter").value.trim().toLowerCase();
  const found = words ? drill.lines.filter((line) => lineText(line).includes(words)) : drill.lines;
  element("drill-table").tBodies[0].replaceChildren(...found.slice(0, MAX_LINES).map(drillRow));
  const part = found.length > MAX_LINES ? `the first ${MAX_LINES} of ` : "";
  element("drill-shown").textContent = found.length
    ? `${part}${grouped(found.length)} ${found.length === 1 ? "line" : "lines"}`
    : drill.lines.length
      ? "no line has these words"
      : "everything that is listed is present";
}

function openDrill(title, parts, lines) {
  drill.lines = lines;
  element("drill-title").textContent = title;
  element("drill-counts").replaceChildren(...parts);
  element("drill-filter").value = "";
  showLines();
  element("drill").hidden = false;
  element("drill").focus({ preventScroll: true });
  element("drill").scrollIntoView({ block: "start" });
}

function runsWhere(isWanted, from, to, isByInstrument) {
  const found = [];
  for (let run = 0; run < data.runs.stream.length; run += 1) {
    if (isWanted(run) && data.runs.first[run] <= to && data.runs.last[run] >= from) found.push({ run, from, to, isByInstrument });
  }
  return found;
}

function openCell({ stream, from, to }) {
  const { runs } = data;
  const lines = runsWhere((run) => runs.stream[run] === stream, from, to, false);
  lines.sort((one, other) => runs.state[other.run] - runs.state[one.run] || runs.gap_us[other.run] - runs.gap_us[one.run] || one.run - other.run);
  const parts = countsOf(stream, from, to).map((count) => {
    const part = tag("span", `${states[count.state].title} ${countWords(count, from === to)}`);
    part.prepend(swatch(count.state));
    return part;
  });
  openDrill(`${streams[stream].join(" · ")} · ${daysText(from, to)}`, [tag("strong", shareText(stream, from, to)), ...parts], lines);
}

function openInstrument(stream, instrument) {
  const { runs } = data;
  const lines = runsWhere((run) => runs.stream[run] === stream && runs.instrument_key[run] === instrument, 0, days - 1, true);
  lines.sort((one, other) => runs.first[one.run] - runs.first[other.run]);
  openDrill(`${instrumentText(instrument)} · ${streams[stream].join(" · ")}`, [tag("span", "all days on which it was not whole")], lines);
}
