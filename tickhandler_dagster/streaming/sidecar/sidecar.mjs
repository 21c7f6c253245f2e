// The live feed of one exchange: the vendor's own mappers in, lines of the vendor's CSV files out.
//
// What belongs here: the start, and what makes one impossible. What does not: capturing
// (`capture.mjs`), which symbols share a connection, restarts and reading the spool (all of it
// Python, `sidecar_feed.py`).
//
// Started as `node sidecar.mjs <configuration.json>`. Ends with 0 after SIGTERM, 2 where the
// configuration cannot work, 3 where the spool takes no more, 1 on anything unforeseen.

import fs from 'node:fs'

import { Sidecar } from './capture.mjs'
import { Refused, SpoolFull } from './errors.mjs'
import { KINDS } from './lines.mjs'

const LIVE_BINANCE_FUTURES_FROM = [14, 3, 0]

const EXIT_CONFIGURATION = 2
const EXIT_SPOOL = 3

const numbers = (text) => (text.match(/\d+/g) ?? []).slice(0, 3).map(Number)

function isBelow(version, floor) {
  for (const [place, least] of floor.entries()) {
    if ((version[place] ?? 0) !== least) {
      return (version[place] ?? 0) < least
    }
  }
  return false
}

async function load(config) {
  const manifest = new URL('./node_modules/tardis-dev/package.json', import.meta.url)
  if (!fs.existsSync(manifest)) {
    throw new Refused('tardis-dev: not installed beside the sidecar. Install the sidecar again.')
  }
  const { version, engines } = JSON.parse(fs.readFileSync(manifest, 'utf8'))
  const node = engines?.node ?? '0'
  if (isBelow(numbers(process.versions.node), numbers(node))) {
    throw new Refused(`Node.js: too old for tardis-dev ${version} (was ${process.versions.node}; expected ${node}). Install a newer Node.js.`)
  }
  const isElsewhere = process.env.WSS_URL_BINANCE_FUTURES !== undefined
  if (config.exchange === 'binance-futures' && !isElsewhere && isBelow(numbers(version), LIVE_BINANCE_FUTURES_FROM)) {
    throw new Refused(`tardis-dev: too old for live binance-futures, whose addresses changed on 2026-04-23 (was ${version}; expected 14.3.0 or newer). Install the sidecar where a newer tardis-dev can be had.`)
  }
  const library = await import('tardis-dev')
  for (const { data_types: dataTypes, symbols } of config.connections) {
    for (const dataType of dataTypes) {
      checkKind(library, config.exchange, dataType, symbols)
    }
  }
  return library
}

// Asked once before the start: the library would try for ever what it cannot do.
function checkKind(library, exchange, dataType, symbols) {
  if (KINDS[dataType] === undefined) {
    throw new Refused(`${dataType}: no live feed has it (expected one of ${Object.keys(KINDS).join(', ')}). Ask for other data types.`)
  }
  try {
    library[KINDS[dataType].normalizer](exchange, new Date()).getFilters(symbols)
  } catch (error) {
    throw new Refused(`${exchange} ${dataType}: tardis-dev has no live feed of it (${error.message}). Ask for other data types.`)
  }
}

async function main() {
  const config = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'))
  const sidecar = new Sidecar(config, await load(config))
  process.on('SIGTERM', () => sidecar.stop())
  process.on('SIGINT', () => sidecar.stop())
  await sidecar.run()
}

try {
  await main()
  process.exit(0)
} catch (error) {
  const isOurs = error instanceof Refused || error instanceof SpoolFull
  process.stderr.write(`${isOurs ? error.message : error.stack}\n`)
  process.exit(error instanceof Refused ? EXIT_CONFIGURATION : error instanceof SpoolFull ? EXIT_SPOOL : 1)
}
