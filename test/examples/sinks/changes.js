// @ts-check
// What sinks have in common: changes taken in batches, and a batch folded to the last state of each key.

/**
 * @typedef {import('varve').Change<string, string>} Change
 * @typedef {{ type: 'clear', start: Buffer, end: Buffer | undefined } | { type: 'write', entries: Map<string, string | null> }} Step
 */

const BATCH_BYTES = 4 * 1024 * 1024

/**
 * Arrays of what is there already, up to `max` changes and some megabytes; one alone when it is all there is. Never
 * waits to make a batch larger.
 *
 * @param {AsyncIterableIterator<Change>} changes
 * @param {number} max
 */
export async function* inBatches(changes, max) {
  let next = changes.next()
  try {
    for (;;) {
      const first = await next
      if (first.done) return
      const batch = [first.value]
      let bytes = sizeOf(first.value)
      next = changes.next()
      while (batch.length < max && bytes < BATCH_BYTES) {
        const ready = await Promise.race([next, nothingYet()])
        if (ready === undefined || ready.done) break
        batch.push(ready.value)
        bytes += sizeOf(ready.value)
        next = changes.next()
      }
      yield batch
    }
  } finally {
    // It may still be asked for while nobody wants the answer any more.
    next.catch(() => {})
    await changes.return?.()
  }
}

/**
 * The changes as few steps: between one `clear` and the next only the last state of a key counts, null for none.
 *
 * @param {readonly Change[]} changes
 */
export function stepsOf(changes) {
  /** @type {Step[]} */
  const steps = []
  for (const op of changes.flatMap(({ ops }) => ops)) {
    let last = steps.at(-1)
    if (op.type === 'clear') steps.push({ type: 'clear', start: op.start, end: op.end })
    else {
      if (last?.type !== 'write') {
        last = { type: 'write', entries: new Map() }
        steps.push(last)
      }
      last.entries.set(op.key, op.type === 'put' ? op.value : null)
    }
  }
  return steps
}

/** @param {string} key @param {Buffer} start @param {Buffer | undefined} end */
export function isWithin(key, start, end) {
  const bytes = Buffer.from(key)
  return bytes.compare(start) >= 0 && (end === undefined || bytes.compare(end) < 0)
}

/** @param {Change} change */
function sizeOf({ ops }) {
  let bytes = 0
  for (const op of ops) if (op.type === 'put') bytes += op.key.length + op.value.length
  return bytes
}

/** @returns {Promise<undefined>} */
function nothingYet() {
  return new Promise((resolve) => setImmediate(() => resolve(undefined)))
}
