// Files of the spool, as `adapters/spool.py` names and orders them.
//
// What belongs here: whole lines into segments, and the size of it all. What does not: what the
// lines say.

import fs from 'node:fs'
import path from 'node:path'

import { SpoolFull } from './errors.mjs'

// A folder of the spool: lines wait here, and go to the newest segment in whole lines.
export class Folder {
  constructor(folder, { writer, suffix, header, rollUs }) {
    this.folder = folder
    this.writer = writer
    this.suffix = suffix
    this.header = header
    this.rollUs = rollUs
    this.waiting = []
    this.waitingBytes = 0
    this.writtenBytes = 0
    this.firstUs = undefined
    this.startUs = undefined
    this.handle = undefined
    this.size = 0
  }

  add(line, atUs) {
    this.firstUs ??= atUs
    this.waiting.push(line)
    this.waitingBytes += line.length
  }

  // Text in memory: what waits, and what is on its way to the disk.
  get heldBytes() {
    return this.waitingBytes + this.writtenBytes
  }

  isDue() {
    return this.handle === undefined || this.firstUs >= this.startUs + this.rollUs
  }

  async flush() {
    if (this.waiting.length === 0) {
      return
    }
    if (this.isDue()) {
      await this.next(this.firstUs)
    }
    const text = this.waiting.join('')
    this.writtenBytes = this.waitingBytes
    this.waiting = []
    this.waitingBytes = 0
    this.firstUs = undefined
    await this.write(text)
    this.writtenBytes = 0
  }

  async next(atUs) {
    await this.handle?.close()
    fs.mkdirSync(this.folder, { recursive: true })
    const names = fs.readdirSync(this.folder).filter((name) => /^\d{16}-/.test(name)).sort()
    const lastUs = names.length > 0 ? Number(names.at(-1).slice(0, 16)) : 0
    this.startUs = Math.max(atUs, lastUs + 1)
    const name = `${String(this.startUs).padStart(16, '0')}-${this.writer}.${this.suffix}`
    this.handle = await fs.promises.open(path.join(this.folder, name), 'ax')
    this.size = 0
    if (this.header !== '') {
      await this.write(this.header)
    }
  }

  async write(text) {
    const bytes = Buffer.from(text)
    try {
      // in one operation: each takes a turn of the event loop, and turns are long while rows pour in
      for (let at = 0; at < bytes.length; ) {
        at += (await this.handle.write(bytes, at)).bytesWritten
      }
      this.size += bytes.length
    } catch (error) {
      await this.handle.truncate(this.size)
      throw new SpoolFull(`spool ${this.folder}: ${error.message}. Free space on its device.`)
    }
  }
}

export function bytesIn(folder) {
  let size = 0
  for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
    const file = path.join(folder, entry.name)
    try {
      size += entry.isDirectory() ? bytesIn(file) : fs.statSync(file).size
    } catch (error) {
      if (error.code !== 'ENOENT') {
        throw error
      }
    }
  }
  return size
}
