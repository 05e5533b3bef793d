/** Turns keys or values into bytes and back. Key encodings keep order only if their bytes do. */
export interface Encoding<T> {
  readonly name: string
  encode(value: T): Uint8Array
  /** `bytes` is the decoder's own to keep, unless the encoding is `'view'`. */
  decode(bytes: Uint8Array): T
}
