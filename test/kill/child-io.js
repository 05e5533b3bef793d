// What children that are killed have in common: they end by themselves, and what they say has left them.
import { writeSync } from 'node:fs'

const LIFE_MS = 12_000
const nap = new Int32Array(new SharedArrayBuffer(4))

/** In case nobody kills this process. */
export function limitLife() {
  setTimeout(() => process.exit(9), LIFE_MS).unref()
}

/** A line on stdout that a kill right after does not take back. */
export function say(line) {
  const bytes = Buffer.from(`${line}\n`)
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(1, bytes, done)
    } catch (error) {
      // A pipe whose reader is behind.
      if (error.code !== 'EAGAIN') throw error
      Atomics.wait(nap, 0, 0, 1)
    }
  }
}

export function fail(message) {
  writeSync(2, `${message}\n`)
  process.exit(1)
}
