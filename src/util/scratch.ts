import { BufferCutter } from './buffer-cutter.js'

const NOTHING = Buffer.alloc(0)

/** Memory that is used again and again by one owner: each `take` ends what the last one gave. */
export class Scratch {
  readonly #cutter = new BufferCutter()
  #bytes: Buffer = NOTHING

  take(size: number): Buffer {
    if (size > this.#bytes.length) this.#bytes = Buffer.allocUnsafeSlow(size + (size >>> 2))
    return this.#cutter.view(this.#bytes, 0, size)
  }
}
