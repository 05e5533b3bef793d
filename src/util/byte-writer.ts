import { copyBytes, writeU32, writeU64 } from './bytes.js'

/** Appends numbers and byte strings to memory that grows. For formats that are written seldom. */
export class ByteWriter {
  #bytes: Buffer
  #length = 0

  constructor(capacity = 256) {
    this.#bytes = Buffer.alloc(capacity)
  }

  get length(): number {
    return this.#length
  }

  u8(value: number): this {
    const at = this.#reserve(1)
    this.#bytes[at] = value
    return this
  }

  u32(value: number): this {
    const at = this.#reserve(4)
    writeU32(this.#bytes, at, value)
    return this
  }

  u64(value: number): this {
    const at = this.#reserve(8)
    writeU64(this.#bytes, at, value)
    return this
  }

  varint(value: number): this {
    let rest = value
    while (rest >= 128) {
      this.u8((rest % 128) | 128)
      rest = Math.floor(rest / 128)
    }
    return this.u8(rest)
  }

  raw(bytes: Uint8Array): this {
    const at = this.#reserve(bytes.length)
    copyBytes(bytes, 0, bytes.length, this.#bytes, at)
    return this
  }

  /** Length first. */
  bytes(bytes: Uint8Array): this {
    return this.varint(bytes.length).raw(bytes)
  }

  text(text: string): this {
    return this.bytes(Buffer.from(text))
  }

  /** Borrowed: valid until the next append. */
  view(): Buffer {
    return this.#bytes.subarray(0, this.#length)
  }

  clear(): void {
    this.#length = 0
  }

  /** May replace `#bytes`: call it before that is read. */
  #reserve(size: number): number {
    const at = this.#length
    if (at + size > this.#bytes.length) {
      const grown = Buffer.alloc(Math.max(at + size, this.#bytes.length * 2))
      grown.set(this.#bytes.subarray(0, at))
      this.#bytes = grown
    }
    this.#length += size
    return at
  }
}
