// The table of feeds and the engine's totals.
const rowRates = new Map();
const barRate = makeRate();

function cell(text, className = "number") {
  return tag("td", text, text === NOTHING ? `${className} nil`.trim() : className);
}

function connection(feed) {
  if (feed.is_connected) return cell("● connected", "good");
  return feed.is_starting ? cell("◌ starting", "wait") : cell("○ cut off", "bad");
}

function feedRow(feed, nowMs, ageS) {
  const row = tag("tr");
  const venue = tag("th", feed.venue);
  venue.scope = "row";
  const rows = Object.values(feed.rows).reduce((sum, one) => sum + one, 0);
  if (!rowRates.has(feed.venue)) rowRates.set(feed.venue, makeRate());
  const count = cell(grouped(rows));
  count.title = Object.entries(feed.rows).map(([name, number]) => `${name}: ${grouped(number)}`).join("\n");
  row.append(
    venue,
    connection(feed),
    cell(isNumber(feed.lag_us) ? durationText(feed.lag_us + ageS * 1e6) : NOTHING),
    cell(durationText(feed.skew_us)),
    cell(isNumber(feed.watermark_us) ? durationText(nowMs * 1000 - feed.watermark_us) : NOTHING),
    count,
    cell(rateText(rowRates.get(feed.venue)(nowMs, rows), "/s")),
    cell(grouped(feed.gaps), feed.gaps ? "number wait" : "number"),
    cell(grouped(feed.overflows), feed.overflows ? "number bad" : "number"),
  );
  return row;
}

function total(name, text) {
  const line = tag("div");
  line.append(tag("dt", name), tag("dd", text));
  return line;
}

function showEngine(status) {
  const { engine, age_s: ageS } = status;
  if (!engine) return;
  const saidMs = Date.parse(engine.at);
  element("feeds").tBodies[0].replaceChildren(...engine.feeds.map((feed) => feedRow(feed, saidMs, ageS || 0)));
  const bars = Object.values(engine.bars).reduce((sum, one) => sum + one, 0);
  element("engine").replaceChildren(
    total("bars per second, newest 30 s", rateText(barRate(saidMs, bars), "bars/s")),
    total("bars published", grouped(bars)),
    total("published after the grace's end", durationText(engine.publish_delay_us)),
    total("bars amended", grouped(engine.amended)),
    total("rows too late to amend a bar", grouped(engine.late_rows)),
    total("spool on disk", sizeText(engine.spool_bytes)),
    total("memory of the process", sizeText(engine.memory_bytes)),
  );
}
