import type { Prepared } from '../access/codec.js'
import { compareBytes } from '../util/bytes.js'
import type { OverlaySlice } from './overlay.js'

/** An entry of the store below an overlay; the bytes are its own. */
export interface RawEntry {
  readonly key: Buffer
  readonly value: Prepared
  /** Of an entry of the main store. */
  readonly expiresAt?: number | undefined
}

/**
 * Decides, step by step, what comes next of two sorted sources: the store, and the writes above it. The caller
 * brings the store's entries.
 */
export class MergeSteps {
  readonly #slice: OverlaySlice
  readonly #isReverse: boolean
  #next = 0

  constructor(slice: OverlaySlice, isReverse: boolean) {
    this.#slice = slice
    this.#isReverse = isReverse
  }

  /**
   * @param below where the store stands; undefined at its end.
   * @returns `entry` to give, if any, and whether the store is to go on; undefined at the end of both.
   */
  step(below: RawEntry | undefined): { readonly entry?: RawEntry; readonly takesBelow: boolean } | undefined {
    const slice = this.#slice
    const isOver = this.#next >= slice.count
    if (isOver) {
      if (!below) return undefined
      return slice.hides(below.key) ? { takesBelow: true } : { entry: below, takesBelow: true }
    }
    const above = slice.at(this.#isReverse ? slice.count - 1 - this.#next : this.#next)
    const order = below ? compareBytes(below.key, above.bytes) * (this.#isReverse ? -1 : 1) : 1
    if (order < 0) return slice.hides(below!.key) ? { takesBelow: true } : { entry: below!, takesBelow: true }
    this.#next++
    const takesBelow = order === 0
    return above.value === undefined
      ? { takesBelow }
      : { entry: { key: above.bytes, value: above.value }, takesBelow }
  }
}

export async function* mergeRange(
  steps: MergeSteps,
  source: AsyncIterator<RawEntry>,
  limit: number,
): AsyncGenerator<RawEntry> {
  try {
    let below = await take(source)
    for (let left = limit; left > 0; ) {
      const step = steps.step(below)
      if (!step) return
      if (step.takesBelow) below = await take(source)
      if (!step.entry) continue
      left--
      yield step.entry
    }
  } finally {
    await source.return?.()
  }
}

async function take(source: AsyncIterator<RawEntry>): Promise<RawEntry | undefined> {
  const { value, done } = await source.next()
  return done ? undefined : value
}

export function* mergeRangeSync(
  steps: MergeSteps,
  source: Iterator<RawEntry>,
  limit: number,
): Generator<RawEntry> {
  try {
    const pull = (): RawEntry | undefined => {
      const { value, done } = source.next()
      return done ? undefined : value
    }
    let below = pull()
    for (let left = limit; left > 0; ) {
      const step = steps.step(below)
      if (!step) return
      if (step.takesBelow) below = pull()
      if (!step.entry) continue
      left--
      yield step.entry
    }
  } finally {
    source.return?.()
  }
}
