// The life of a feed: connections up and down, rows on their way to disk, signs of life.
//
// What belongs here: what happens while it runs. What does not: whether it may start at all
// (`sidecar.mjs`).
//
// Where the disk is slower than the feed, rows wait in memory up to a limit; beyond it the newest
// rows are given up, whole, and said to be missing as those of a lost connection are. Not reading
// on instead would hide the loss: the vendor's library stamps a row when it is taken from the
// queue, so that waiting rows would get the stamps of a later time, and the exchange would cut a
// connection that is not read.

import fs from 'node:fs'
import path from 'node:path'

import { SpoolFull } from './errors.mjs'
import { KINDS, lineMaker, micro } from './lines.mjs'
import { Folder, bytesIn } from './segments.mjs'

const FLUSH_MS = 50
const HEARTBEAT_MS = 1000
const HEARTBEATS_PER_EVENT = 5
const LIMIT_CHECK_MS = 10_000
const ERROR_SAID_MS = 10_000
const MAX_PAUSE_MS = 32_000
const TURN_MS = 25

const nowUs = () => Date.now() * 1000
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const turn = () => new Promise((resolve) => setImmediate(resolve))

export class Sidecar {
  constructor(config, tardis) {
    this.config = config
    this.tardis = tardis
    this.root = path.join(config.root, config.exchange)
    const writer = `n${process.pid}`
    const rollUs = config.roll_us
    this.rows = {}
    this.makers = {}
    for (const [dataType, header] of Object.entries(config.headers)) {
      this.makers[dataType] = lineMaker(config.exchange, dataType, header)
      const folder = path.join(this.root, dataType)
      this.rows[dataType] = new Folder(folder, { writer, suffix: 'csv', header: header.join(',') + '\n', rollUs })
    }
    this.events = new Folder(path.join(this.root, 'events'), { writer, suffix: 'jsonl', header: '', rollUs })
    this.connections = new Map(config.connections.map((connection) => [connection.name, { ...connection, isUp: false }]))
    this.dropped = 0
    this.isOverflowing = false
    this.received = 0
    this.lastUs = null
    this.loopDelayMs = 0
    this.beats = 0
    this.checkedMs = 0
    this.isStopping = false
  }

  say(kind, fields) {
    const said = { kind, venue: this.config.exchange, at_us: nowUs(), ...fields }
    const kept = Object.entries(said).filter(([name, value]) => name === 'at_us' || !(value === '' || value === null || value === 0 || value?.length === 0))
    this.events.add(JSON.stringify(Object.fromEntries(kept)) + '\n', said.at_us)
  }

  up(connection, atUs) {
    connection.isUp = true
    this.say('connected', { at_us: atUs, connection: connection.name, data_types: connection.data_types, symbols: connection.symbols })
  }

  down(connection, lastUs, text) {
    if (!connection.isUp) {
      return
    }
    connection.isUp = false
    this.say('disconnected', { connection: connection.name, data_types: connection.data_types, symbols: connection.symbols, last_arrival_us: lastUs, text })
  }

  take(connection, dataType, message) {
    if (this.isStopping) {
      return
    }
    const atUs = micro(message.localTimestamp)
    this.received += 1
    if (this.isOverflowing) {
      this.dropped += 1
      return
    }
    if (!connection.isUp) {
      this.up(connection, atUs)
    }
    const line = this.makers[dataType](message)
    if (this.heldBytes() + line.length > this.config.max_buffer_bytes) {
      this.startOverflow()
      return
    }
    this.rows[dataType].add(line, atUs)
    connection.lastUs = atUs
    this.lastUs = atUs
  }

  startOverflow() {
    this.isOverflowing = true
    this.dropped = 1
    for (const connection of this.connections.values()) {
      this.down(connection, connection.lastUs ?? null, 'overflow: the disk is slower than the feed')
    }
  }

  endOverflow() {
    this.isOverflowing = false
    this.say('overflow', { rows: this.dropped, last_arrival_us: this.lastUs, text: `${this.dropped} rows given up: the disk was slower than the feed` })
    this.dropped = 0
  }

  async run() {
    await this.checkLimit()
    const streams = [...this.connections.values()].map((connection) => this.stream(connection))
    await Promise.race([this.write(), ...streams])
  }

  // The rows of one connection; reconnects are the library's.
  async stream(connection) {
    const { exchange } = this.config
    const kinds = connection.data_types.map((dataType) => [dataType, KINDS[dataType]])
    const types = new Map(kinds.map(([dataType, kind]) => [kind.type, dataType]))
    const normalizers = [...new Set(kinds.map(([, kind]) => kind.normalizer))].map((name) => this.tardis[name])
    const depths = kinds.filter(([, kind]) => kind.depth !== undefined).map(([, kind]) => kind.depth)
    const options = {
      exchange,
      symbols: connection.symbols,
      withDisconnectMessages: true,
      timeoutIntervalMS: connection.timeout_ms,
      onError: (error) => this.failed(connection, error)
    }
    const { streamNormalized, compute, computeBookSnapshots } = this.tardis
    let messages = streamNormalized(options, ...normalizers)
    if (depths.length > 0) {
      const computables = depths.map((depth) => computeBookSnapshots({ name: `book_snapshot_${depth}`, depth, interval: 0 }))
      messages = compute(messages, ...computables)
    }
    let failures = 0
    for await (const message of messages) {
      if (message.type === 'disconnect') {
        this.down(connection, connection.lastUs ?? null, connection.error ?? 'the connection was lost')
        connection.error = undefined
        // an error of a mapper makes the library connect again at once: the pause is ours
        await sleep(Math.min(2 ** failures * 100, MAX_PAUSE_MS))
        failures += 1
        continue
      }
      const dataType = types.get(message.type === 'book_snapshot' ? message.name : message.type)
      if (dataType !== undefined) {
        failures = 0
        this.take(connection, dataType, message)
        await this.giveWay(message.localTimestamp.getTime())
      }
    }
  }

  // Rows that wait already come without a turn of the event loop between them: more of them than
  // can be read would keep writing and signs of life waiting for as long as they last.
  async giveWay(nowMs) {
    if (nowMs >= (this.turnedMs ?? 0) + TURN_MS) {
      await turn()
      this.turnedMs = Date.now()
    }
  }

  failed(connection, error) {
    connection.error = String(error?.message ?? error).slice(0, 500)
    if (Date.now() >= (connection.saidMs ?? 0) + ERROR_SAID_MS) {
      connection.saidMs = Date.now()
      this.say('failed', { connection: connection.name, text: connection.error })
    }
  }

  // What waits goes to disk, round after round; one writer, so that lines stay in order.
  async write() {
    for (;;) {
      const began = Date.now()
      await sleep(FLUSH_MS)
      this.loopDelayMs = Math.max(0, Date.now() - began - FLUSH_MS)
      const isLast = this.isStopping
      await this.flush()
      if (isLast) {
        return
      }
      await this.beat()
    }
  }

  async flush() {
    const folders = Object.values(this.rows)
    if (folders.some((folder) => folder.waiting.length > 0 && folder.isDue())) {
      await this.checkLimit()
    }
    // a connection's first row is not to be seen before the word that it came up
    await this.events.flush()
    const ends = await Promise.allSettled(folders.map((folder) => folder.flush()))
    const failed = ends.find((end) => end.status === 'rejected')
    if (failed !== undefined) {
      throw failed.reason
    }
    if (this.isOverflowing && this.heldBytes() * 2 < this.config.max_buffer_bytes) {
      this.endOverflow()
    }
  }

  heldBytes() {
    return Object.values(this.rows).reduce((bytes, folder) => bytes + folder.heldBytes, 0)
  }

  async checkLimit() {
    const limit = this.config.max_spool_bytes
    if (limit === null || Date.now() < this.checkedMs + LIMIT_CHECK_MS) {
      return
    }
    this.checkedMs = Date.now()
    const size = bytesIn(this.config.root)
    if (size < limit) {
      return
    }
    const text = `spool ${this.config.root}: its limit is reached, capture stops (was ${size} bytes; expected less than ${limit} bytes). Let the consumers catch up, or raise STREAMING_SPOOL_LIMIT_GB.`
    this.say('spool_full', { text, last_arrival_us: this.lastUs })
    for (const connection of this.connections.values()) {
      this.down(connection, connection.lastUs ?? null, text)
    }
    await this.events.flush()
    throw new SpoolFull(text)
  }

  async beat() {
    const nowMs = Date.now()
    if (nowMs < (this.beatMs ?? 0) + HEARTBEAT_MS) {
      return
    }
    this.beatMs = nowMs
    const beat = {
      pid: process.pid,
      digest: this.config.digest,
      at_us: nowMs * 1000,
      rows: this.received,
      last_arrival_us: this.lastUs,
      waiting_bytes: this.heldBytes(),
      loop_delay_ms: this.loopDelayMs,
      cpu_us: process.cpuUsage().user + process.cpuUsage().system,
      memory_bytes: process.memoryUsage.rss()
    }
    const file = path.join(this.root, 'heartbeat.json')
    await fs.promises.writeFile(`${file}.tmp`, JSON.stringify(beat))
    await fs.promises.rename(`${file}.tmp`, file)
    this.beats += 1
    if (this.beats % HEARTBEATS_PER_EVENT === 1) {
      this.say('heartbeat', { rows: this.received })
    }
  }

  // Rows received so far are kept; the writer's next round is its last.
  stop() {
    for (const connection of this.connections.values()) {
      this.down(connection, connection.lastUs ?? null, 'the feed was stopped')
    }
    this.isStopping = true
  }
}
