import type { Database } from '../database.js'
import { decodeTuple, encodeTuple, type TuplePart } from '../key/tuple.js'
import { asBuffer } from '../util/bytes.js'
import { UsageError } from './failure.js'
import { describeBytes, jsonField } from './format.js'
import { loadEngine, parseKey, type Store } from './store.js'

/** A store and its keys as they are written on the command line. */
export interface KeyedStore {
  readonly db: Database<unknown, Buffer>
  /** The key that an argument names. @throws UsageError where it cannot be one of this store. */
  parse(text: string): unknown
  /** For people. */
  show(key: unknown): string | Buffer
  /** For programs, fit for `load`. */
  fields(key: unknown): Record<string, unknown>
}

interface KeyOptions {
  /** The keys given are hexadecimal. */
  readonly hexKey?: boolean
  /** Keys are shown in hexadecimal. */
  readonly hex?: boolean
}

/** Text as it is; the arrays of a store with tuples for keys as JSON; bytes where hexadecimal is asked for. */
export async function withKeysOf(store: Store, options: KeyOptions): Promise<KeyedStore> {
  const isHex = options.hexKey === true || options.hex === true
  return (await encodingsOf(store)).keyEncoding === 'tuple' && !isHex ? tuples(store) : bytes(store, options)
}

/** By which names the store was made; empty: it does not say. */
export async function encodingsOf(store: Store): Promise<{ keyEncoding: string; valueEncoding: string }> {
  const { Database } = await loadEngine()
  return Database.typedStoreOf(store).store.tree.version
}

/** Keys as bytes, for whoever reads files: how they are named and shown. */
export interface KeyWords {
  /** The bytes of the key that an argument names. @throws UsageError. */
  parse(text: string): Buffer
  /** For people. */
  describe(key: Uint8Array): string
  /** For programs. */
  fields(key: Buffer): Record<string, unknown>
}

/** Of a store that keys of this encoding were written to. */
export function keyWordsOf(keyEncoding: string | undefined, isHex: boolean): KeyWords {
  if (keyEncoding === 'tuple' && !isHex)
    return {
      parse: (text) => encodeTuple(parseTuple(text)),
      describe: (key) => shownTuple(key) ?? describeBytes(key),
      fields: (key) => {
        const tuple = shownTuple(key)
        if (tuple === undefined) return jsonField('key', key)
        return { key: JSON.parse(tuple) as unknown, keyBase64: key.toString('base64') }
      },
    }
  return {
    parse: (text) => parseKey(text, isHex),
    describe: describeBytes,
    fields: (key) => jsonField('key', key),
  }
}

/** Undefined for bytes that are no tuple: the ends of ranges, and what was written through another encoding. */
function shownTuple(key: Uint8Array): string | undefined {
  try {
    return show(decodeTuple(asBuffer(key), 0, key.length))
  } catch {
    return undefined
  }
}

function show(parts: readonly unknown[]): string {
  return JSON.stringify(parts.map(showPart))
}

function bytes(store: Store, { hexKey, hex }: KeyOptions): KeyedStore {
  return {
    db: store as Database<unknown, Buffer>,
    parse: (text) => parseKey(text, hexKey),
    show: (key) => (hex ? (key as Buffer).toString('hex') : (key as Buffer)),
    fields: (key) => (hex ? { key: (key as Buffer).toString('hex') } : jsonField('key', key as Buffer)),
  }
}

function tuples(store: Store): KeyedStore {
  return {
    db: store.withEncodings<unknown[], Buffer>({
      ...{ keyEncoding: 'tuple', valueEncoding: 'buffer' },
    }) as Database<unknown, Buffer>,
    parse: parseTuple,
    show: (key) => show(key as unknown[]),
    fields: (key) => ({
      key: (key as unknown[]).map(showPart),
      keyBase64: encodeTuple(key as TuplePart[]).toString('base64'),
    }),
  }
}

function parseTuple(text: string): TuplePart[] {
  let parts: unknown
  try {
    parts = JSON.parse(text)
  } catch {
    parts = undefined
  }
  if (Array.isArray(parts)) return parts.map(parsePart)
  throw new UsageError(
    `the keys of this store are tuples: write '["a",1]', or bytes with --hex-key, not ${text}`,
  )
}

/** What JSON has no word for, as an object with one. */
function showPart(part: unknown): unknown {
  if (typeof part === 'bigint') return { bigint: String(part) }
  if (part instanceof Uint8Array) return { base64: Buffer.from(part).toString('base64') }
  return typeof part === 'number' && !Number.isFinite(part) ? { number: String(part) } : part
}

function parsePart(part: unknown): TuplePart {
  if (typeof part !== 'object' || part === null) return part as TuplePart
  const { bigint, base64, number } = part as Readonly<Record<string, unknown>>
  if (typeof bigint === 'string' && /^-?\d+$/.test(bigint)) return BigInt(bigint)
  if (typeof base64 === 'string') return Buffer.from(base64, 'base64')
  if (number === 'Infinity' || number === '-Infinity') return Number(number)
  throw new UsageError(
    `a part of a key is text, a number, true, false, null, or {"bigint":"1"} or {"base64":"AA=="}`,
  )
}
