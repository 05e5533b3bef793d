/**
 * The least that each row must do, as an engine: one copy of the bytes, one write(2), one fdatasync, a `Map` of the
 * keys, new `Buffer`s for what is read. No checksum, no order kept while writing, no recovery, no limit on memory.
 */
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { readsOf } from '../limit-engine.js'

const LOG_BYTES = 1 << 20
const HEADER_BYTES = 8

export function open(dir) {
  // Every store of the process is the same one: opened anew it still holds what the fill put there.
  store ??= new BareStore(join(dir, 'bare.log'))
  const engine = store
  return {
    ...readsOf(engine),
    name: 'bare',
    async batch(ops) {
      for (const { key, value } of ops) engine.add(key, value)
      engine.write()
    },
    put: (key, value) => engine.put(key, value, false),
    putDurable: (key, value) => engine.put(key, value, true),
  }
}

let store

class BareStore {
  #bytes = Buffer.allocUnsafeSlow(64 << 20)
  #end = 0
  #written = 0
  #fileAt = 0
  #places = new Map()
  #order
  #file
  #waiting = []
  #isDurable = false

  constructor(path) {
    this.#file = openSync(path, 'w')
    // The file does not grow while it is written to: its fdatasync is the cheapest there is.
    writeSync(this.#file, Buffer.alloc(LOG_BYTES), 0, LOG_BYTES, 0)
    fdatasyncSync(this.#file)
    process.on('exit', () => closeSync(this.#file))
  }

  add(key, value) {
    const size = HEADER_BYTES + key.length + value.length
    if (this.#end + size > this.#bytes.length) {
      const grown = Buffer.allocUnsafeSlow(this.#bytes.length * 2)
      this.#bytes.copy(grown, 0, 0, this.#end)
      this.#bytes = grown
    }
    const at = this.#end
    this.#bytes.writeUInt32LE(key.length, at)
    this.#bytes.writeUInt32LE(value.length, at + 4)
    this.#bytes.set(key, at + HEADER_BYTES)
    this.#bytes.set(value, at + HEADER_BYTES + key.length)
    this.#end += size
    this.#places.set(key.toString('latin1'), at)
    this.#order = undefined
  }

  write() {
    const size = this.#end - this.#written
    if (this.#fileAt + size > LOG_BYTES) this.#fileAt = 0
    this.#fileAt += writeSync(this.#file, this.#bytes, this.#written, size, this.#fileAt)
    this.#written = this.#end
  }

  /** What comes in one turn is one write and one fdatasync. */
  put(key, value, isDurable) {
    this.add(key, value)
    if (isDurable) this.#isDurable = true
    return new Promise((resolve) => {
      if (this.#waiting.push(resolve) === 1) queueMicrotask(() => this.#commit())
    })
  }

  #commit() {
    const waiting = this.#waiting
    this.#waiting = []
    this.write()
    if (this.#isDurable) fdatasyncSync(this.#file)
    this.#isDurable = false
    for (const resolve of waiting) resolve()
  }

  find(key) {
    const at = this.#places.get(key.toString('latin1'))
    if (at === undefined) return undefined
    const start = at + HEADER_BYTES + this.#bytes.readUInt32LE(at)
    return this.#copy(start, start + this.#bytes.readUInt32LE(at + 4))
  }

  #copy(start, end) {
    const copy = Buffer.allocUnsafe(end - start)
    copy.set(this.#bytes.subarray(start, end))
    return copy
  }

  #sorted() {
    this.#order ??= [...this.#places].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, at]) => at)
    return this.#order
  }

  #entry(at) {
    const start = at + HEADER_BYTES
    const keyEnd = start + this.#bytes.readUInt32LE(at)
    return [this.#copy(start, keyEnd), this.#copy(keyEnd, keyEnd + this.#bytes.readUInt32LE(at + 4))]
  }

  async scan() {
    let count = 0
    let entries = []
    for (const at of this.#sorted()) {
      entries.push(this.#entry(at))
      count++
      if (entries.length === 1000) {
        entries = []
        await undefined
      }
    }
    return count
  }

  seek(key, count) {
    const order = this.#sorted()
    let low = 0
    let high = order.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const start = order[middle] + HEADER_BYTES
      const keyEnd = start + this.#bytes.readUInt32LE(order[middle])
      if (this.#bytes.compare(key, 0, key.length, start, keyEnd) < 0) low = middle + 1
      else high = middle
    }
    const entries = order.slice(low, low + count).map((at) => this.#entry(at))
    return entries.length
  }
}
