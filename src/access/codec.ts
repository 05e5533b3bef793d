import { VarveError } from '../errors.js'
import type { Encoding } from '../key/encoding.js'
import { decodeTuple, encodeTuple, type TuplePart } from '../key/tuple.js'
import { BufferCutter, pooledCopy } from '../util/buffer-cutter.js'
import { asBuffer, copyBytes } from '../util/bytes.js'
import { nearestName } from '../util/option-names.js'

/** What goes into the log as it is: a string as UTF-8. */
export type Prepared = string | Uint8Array

/** Turns what users hand in into what can be written, and bytes back. */
export interface Codec<T> {
  /** Whether `prepare` is no work: else it is called once for each value and the result kept. */
  readonly isDirect: boolean
  /** Whether what `decode` gives is a view of `bytes`, which must then stay as they are. */
  readonly givesViews?: boolean
  /** @throws VarveError `VARVE_INVALID_ARGUMENT` for a value of the wrong type. */
  prepare(value: T): Prepared
  /** `bytes` is borrowed. */
  decode(bytes: Buffer, start: number, end: number): T
  /** As `decode`, where it is no work once `bytes` may be given away. */
  readonly decodeOwn?: (bytes: Buffer, start: number, end: number) => T
  /** What a number is among these values; left out: itself. */
  readonly fromNumber?: (number: number) => T
  /** The first key after those that start with what `prefix` encodes; left out: by its bytes. */
  readonly prefixEnd?: (prefix: Uint8Array) => Uint8Array | undefined
}

/** What stands between the parts of an encoded tuple; no part holds it. */
const TUPLE_SEPARATOR = 0
const TUPLE_PARTS = 'an array of strings, numbers, bigints, booleans, null and bytes'

export function codecOf<T>(what: 'key' | 'value', encoding: string | Encoding<T> = 'utf8'): Codec<T> {
  if (typeof encoding === 'object' && encoding !== null) return customCodec(what, encoding)
  const make = CODECS[encoding]
  if (!make || (encoding === 'tuple' && what === 'value')) {
    const known = Object.keys(CODECS).filter((name) => name !== 'tuple' || what === 'key')
    const nearest = nearestName(String(encoding), known)
    const hint = nearest === undefined ? `there is ${known.join(', ')}` : `did you mean ${nearest}?`
    throw new VarveError(
      'VARVE_INVALID_ARGUMENT',
      `there is no ${what} encoding ${String(encoding)}: ${hint}`,
    )
  }
  return make(what) as Codec<T>
}

const CODECS: { readonly [name: string]: (what: string) => Codec<never> } = {
  utf8: (what) => ({
    isDirect: true,
    fromNumber: (number) => String(number) as never,
    prepare: (value: string) => checkText(what, value),
    decode: (bytes, start, end) => bytes.toString('utf8', start, end) as never,
  }),
  buffer: (what) => {
    const views = new BufferCutter()
    return {
      isDirect: true,
      fromNumber: (number) => Buffer.from(String(number)) as never,
      prepare: (value: Uint8Array) => checkBytes(what, value),
      decode: (bytes, start, end) => pooledCopy(bytes, start, end) as never,
      decodeOwn: (bytes, start, end) => views.view(bytes, start, end) as never,
    }
  },
  view: (what) => {
    const cutter = new BufferCutter()
    return {
      isDirect: true,
      givesViews: true,
      fromNumber: (number) => Buffer.from(String(number)) as never,
      prepare: (value: Uint8Array) => checkBytes(what, value),
      decode: (bytes, start, end) => cutter.view(bytes, start, end) as never,
    }
  },
  json: (what) => ({
    isDirect: false,
    prepare: (value: unknown) => toJson(what, value),
    decode: (bytes, start, end) => parseJson(what, bytes.toString('utf8', start, end)) as never,
  }),
  tuple: (what) => ({
    isDirect: false,
    prepare: (value: unknown) => toTuple(what, value),
    decode: (bytes, start, end) => decodeTuple(bytes, start, end) as never,
    // Tuples that start with the parts of the prefix, not with its last part cut short.
    prefixEnd: (prefix) => (prefix.length === 0 ? undefined : Buffer.from([...prefix, TUPLE_SEPARATOR + 1])),
  }),
}

function customCodec<T>(what: string, encoding: Encoding<T>): Codec<T> {
  if (typeof encoding.encode !== 'function' || typeof encoding.decode !== 'function') {
    throw new VarveError('VARVE_INVALID_ARGUMENT', `a ${what} encoding has encode and decode`)
  }
  return {
    isDirect: false,
    prepare: (value) => checkBytes(what, encoding.encode(value)),
    decode: (bytes, start, end) => encoding.decode(copyOut(bytes, start, end)),
  }
}

function checkText(what: string, value: unknown): string {
  if (typeof value !== 'string') throw wrongType(what, 'a string', value, hintFor(what, value))
  if (!(value as string & { isWellFormed(): boolean }).isWellFormed()) {
    throw new VarveError('VARVE_INVALID_ARGUMENT', `a ${what} with half a surrogate pair has no UTF-8`)
  }
  return value
}

function checkBytes(what: string, value: unknown): Uint8Array {
  if (!(value instanceof Uint8Array)) throw wrongType(what, 'a Uint8Array', value)
  return value
}

function toJson(what: string, value: unknown): string {
  let text: string | undefined
  try {
    text = JSON.stringify(value)
  } catch (error) {
    const [why] = String((error as Error)?.message ?? error).split('\n', 1)
    throw new VarveError('VARVE_INVALID_ARGUMENT', `a ${what} is something that JSON can hold: ${why}`, {
      cause: error,
    })
  }
  if (text === undefined) throw wrongType(what, 'something that JSON can hold', value)
  return text
}

function parseJson(what: string, text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    const message = `a ${what} that was read is not JSON: it was written through another encoding, and 'buffer' shows it`
    throw new VarveError('VARVE_INVALID_ARGUMENT', message, { cause: error })
  }
}

function toTuple(what: string, value: unknown): Uint8Array {
  if (!Array.isArray(value)) throw wrongType(what, 'an array', value, `: [${what}] is one of one part`)
  for (const part of value) {
    const isKnown =
      part === null ||
      ['string', 'number', 'boolean', 'bigint'].includes(typeof part) ||
      part instanceof Uint8Array
    if (!isKnown || Number.isNaN(part)) throw wrongType(what, TUPLE_PARTS, part)
    if (typeof part === 'string') checkText(what, part)
  }
  return encodeTuple(value as TuplePart[])
}

function wrongType(what: string, expected: string, value: unknown, hint = ''): VarveError {
  const isPlain = value === null || Number.isNaN(value)
  const found = isPlain ? String(value) : value instanceof Uint8Array ? 'bytes' : typeof value
  return new VarveError('VARVE_INVALID_ARGUMENT', `a ${what} is ${expected}, not ${found}${hint}`)
}

/** Which encoding takes what was given where text was expected. */
function hintFor(what: string, value: unknown): string {
  if (what === 'key' && typeof value === 'number')
    return ": open the store with keyEncoding 'tuple', where [1] and [10] are in the order of numbers"
  if (!['object', 'number', 'boolean'].includes(typeof value)) return ''
  const name =
    value instanceof Uint8Array ? 'buffer' : Array.isArray(value) && what === 'key' ? 'tuple' : 'json'
  return `: open the store with ${what}Encoding '${name}' for those`
}

// Hot: every value that is read.
export function copyOut(bytes: Buffer, start: number, end: number): Buffer {
  const copy = Buffer.allocUnsafe(end - start)
  copyBytes(bytes, start, end, copy, 0)
  return copy
}

/** Strings up to this are written by a loop: the native call costs more. */
const LOOP_MAX = 64
/** Above this the exact size is worth counting. */
const BOUND_MAX = 1024

/** At least as many bytes as `prepared` takes. */
export function sizeMaxOf(prepared: Prepared): number {
  if (typeof prepared !== 'string') return prepared.length
  return prepared.length <= BOUND_MAX ? prepared.length * 3 : Buffer.byteLength(prepared)
}

// Hot: every key and value that is written, every key that is read.
/** Writes it and returns the offset after it. */
export function writePrepared(prepared: Prepared, into: Buffer, at: number): number {
  if (typeof prepared !== 'string') {
    copyBytes(prepared, 0, prepared.length, into, at)
    return at + prepared.length
  }
  const length = prepared.length
  if (length > LOOP_MAX) return at + into.write(prepared, at)
  for (let i = 0; i < length; i++) {
    const unit = prepared.charCodeAt(i)
    if (unit >= 128) return at + into.write(prepared, at)
    into[at + i] = unit
  }
  return at + length
}

/** The bytes as a `Buffer`: the value itself where it is bytes. */
export function toBytes(prepared: Prepared): Buffer {
  return typeof prepared === 'string' ? Buffer.from(prepared) : asBuffer(prepared)
}
