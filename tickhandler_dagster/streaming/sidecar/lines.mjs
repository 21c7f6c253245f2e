// A message of the library as a line of the vendor's CSV files.
//
// What belongs here: the cell of every column. Columns and their order come with the
// configuration, so that they stand in one place, which is Python's.

import { Refused } from './errors.mjs'

// Dates of the library carry what is below a millisecond beside them.
export const micro = (date) => {
  return date === undefined ? '' : date.getTime() * 1000 + (date['\u03bcs'] ?? date['\u00b5s'] ?? 0)
}
const cell = (value) => (value === undefined || value === null || Number.isNaN(value) ? '' : value)

const CLOCKS = { timestamp: (m) => micro(m.timestamp), local_timestamp: (m) => micro(m.localTimestamp) }
const TAKEN = { id: (m) => m.id, side: (m) => m.side, price: (m) => m.price, amount: (m) => m.amount }

// Per data type: the library's normalizer, the type of its messages, and the cell of every column.
export const KINDS = {
  trades: { normalizer: 'normalizeTrades', type: 'trade', cells: TAKEN },
  liquidations: { normalizer: 'normalizeLiquidations', type: 'liquidation', cells: TAKEN },
  book_snapshot_5: { normalizer: 'normalizeBookChanges', type: 'book_snapshot_5', depth: 5, cells: levels(5) },
  book_snapshot_25: { normalizer: 'normalizeBookChanges', type: 'book_snapshot_25', depth: 25, cells: levels(25) },
  derivative_ticker: {
    normalizer: 'normalizeDerivativeTickers',
    type: 'derivative_ticker',
    cells: {
      funding_timestamp: (m) => micro(m.fundingTimestamp),
      funding_rate: (m) => m.fundingRate,
      predicted_funding_rate: (m) => m.predictedFundingRate,
      open_interest: (m) => m.openInterest,
      last_price: (m) => m.lastPrice,
      index_price: (m) => m.indexPrice,
      mark_price: (m) => m.markPrice
    }
  },
  options_chain: {
    normalizer: 'normalizeOptionsSummary',
    type: 'option_summary',
    cells: {
      type: (m) => m.optionType,
      strike_price: (m) => m.strikePrice,
      expiration: (m) => micro(m.expirationDate),
      open_interest: (m) => m.openInterest,
      last_price: (m) => m.lastPrice,
      bid_price: (m) => m.bestBidPrice,
      bid_amount: (m) => m.bestBidAmount,
      bid_iv: (m) => m.bestBidIV,
      ask_price: (m) => m.bestAskPrice,
      ask_amount: (m) => m.bestAskAmount,
      ask_iv: (m) => m.bestAskIV,
      mark_price: (m) => m.markPrice,
      mark_iv: (m) => m.markIV,
      underlying_index: (m) => m.underlyingIndex,
      underlying_price: (m) => m.underlyingPrice,
      delta: (m) => m.delta,
      gamma: (m) => m.gamma,
      vega: (m) => m.vega,
      theta: (m) => m.theta,
      rho: (m) => m.rho
    }
  }
}

function levels(depth) {
  const cells = {}
  for (let level = 0; level < depth; level++) {
    for (const side of ['asks', 'bids']) {
      cells[`${side}[${level}].price`] = (m) => m[side][level]?.price
      cells[`${side}[${level}].amount`] = (m) => m[side][level]?.amount
    }
  }
  return cells
}

// A message as a line; refuses a column it has no cell for.
export function lineMaker(exchange, dataType, header) {
  const cells = { ...CLOCKS, ...KINDS[dataType].cells }
  const makers = header.slice(2).map((name) => {
    if (cells[name] === undefined) {
      throw new Refused(`${dataType}: no cell for the column ${name}. Install the sidecar of this version.`)
    }
    return cells[name]
  })
  return (m) => {
    let line = `${exchange},${m.symbol}`
    for (const make of makers) {
      line += `,${cell(make(m))}`
    }
    return line + '\n'
  }
}
