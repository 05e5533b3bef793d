/** Turns keys or values into bytes and back. Key encodings keep order only if their bytes do. */
export interface Encoding<T> {
  /** Written down in the store: one that is opened with another name is refused. */
  readonly name: string
  /** The bytes of a value, which are not changed afterwards. */
  encode(value: T): Uint8Array
  /** `bytes` is the decoder's own to keep, unless the encoding is `'view'`. */
  decode(bytes: Uint8Array): T
}
