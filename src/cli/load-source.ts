import { Readable } from 'node:stream'
import type { BatchOp } from '../store/contract.js'
import { describeBytes } from './format.js'
import { readLines } from './line-reader.js'

export type LoadOp = BatchOp<Buffer, Buffer>

/** What a file or a pipe holds, as operations, some at a time. Throws `BadInput`. */
export type LoadSource = (chunks: AsyncIterable<Uint8Array>) => AsyncIterable<readonly LoadOp[]>

/** The input is not what it was said to be. */
export class BadInput extends Error {
  override readonly name = 'BadInput'

  static at(line: number, what: string): BadInput {
    return new BadInput(`line ${line}: ${what}`)
  }
}

/** One operation of a line; a string says what is wrong with the line; undefined: there is nothing in it. */
export type ParseLine = (line: Buffer) => LoadOp | string | undefined

export function lineSource(makeParser: () => ParseLine): LoadSource {
  return async function* (chunks) {
    const parse = makeParser()
    let lineNumber = 0
    for await (const lines of readLines(chunks)) {
      const ops: LoadOp[] = []
      for (const line of lines) {
        lineNumber++
        const parsed = parse(line)
        if (typeof parsed === 'string') {
          if (ops.length > 0) yield ops
          throw BadInput.at(lineNumber, parsed)
        }
        if (parsed !== undefined) ops.push(parsed)
      }
      yield ops
    }
  }
}

const NOT_DUMPED = 'is not in base64, as dump prints it: for text add --format ndjson'

/** The lines that `dump` prints. */
export function parseDumpLine(line: Buffer): LoadOp | string | undefined {
  const fields = parseObject(line)
  if (typeof fields !== 'object') return fields
  const key = fromBase64(fields.key)
  if (key === undefined) return `"key" ${NOT_DUMPED}`
  const value = fromBase64(fields.value)
  return value === undefined ? `"value" ${NOT_DUMPED}` : putOf(key, value, fields)
}

/** What `scan --json` prints, and what other programs write: text; `keyBase64` and `valueBase64` for other bytes. */
export function parseNdjsonLine(line: Buffer): LoadOp | string | undefined {
  const fields = parseObject(line)
  if (typeof fields !== 'object') return fields
  const key = typeof fields.key === 'string' ? Buffer.from(fields.key) : fromBase64(fields.keyBase64)
  if (key === undefined) return 'neither "key" as text nor "keyBase64"'
  if (fields.value === undefined && fields.valueBase64 === undefined)
    return 'neither "value" nor "valueBase64"'
  const { value } = fields
  if (value === undefined) {
    const bytes = fromBase64(fields.valueBase64)
    return bytes === undefined ? '"valueBase64" is not base64' : putOf(key, bytes, fields)
  }
  return putOf(key, Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)), fields)
}

function putOf(key: Buffer, value: Buffer, { expiresAt }: Record<string, unknown>): LoadOp | string {
  if (expiresAt === undefined) return { type: 'put', key, value }
  const isTime = Number.isSafeInteger(expiresAt) && (expiresAt as number) > 0
  if (!isTime) return '"expiresAt" is no number of milliseconds since the epoch'
  return { type: 'put', key, value, expiresAt: expiresAt as number }
}

export function parseTsvLine(line: Buffer): LoadOp | string {
  const tab = line.indexOf('\t')
  return tab < 0 ? 'no tab' : { type: 'put', key: line.subarray(0, tab), value: line.subarray(tab + 1) }
}

const EXCERPT_BYTES = 40

const HEX_ENTRY = /^0x([0-9a-f]*) (?:==>|:) 0x([0-9a-f]*)$/i
const HEX_COUNT = /^Keys in range: (\d+)$/

/** What RocksDB's `ldb dump --hex` and `ldb scan --hex` print; the count at the end of a dump is compared. */
export function hexDumpParser(): ParseLine {
  let entries = 0
  return (line) => {
    // Latin-1 takes any byte, and a value of a hundred megabytes is no rope of characters to be decoded.
    const text = line.toString('latin1').trimEnd()
    if (text === '') return undefined
    const [, key, value] = HEX_ENTRY.exec(text) ?? []
    if (key !== undefined && value !== undefined) {
      if (key.length % 2 === 1 || value.length % 2 === 1) return 'an odd number of hexadecimal digits'
      entries++
      return { type: 'put', key: Buffer.from(key, 'hex'), value: Buffer.from(value, 'hex') }
    }
    const count = HEX_COUNT.exec(text)?.[1]
    if (count === undefined) return `not 0x… ==> 0x…: make it with ldb dump --hex; ${excerpt(line)}`
    return Number(count) === entries ? undefined : `${count} keys were dumped, ${entries} came`
  }
}

/** The beginning of what could not be read, fit for a terminal. */
export function excerpt(line: Buffer): string {
  if (line.length <= EXCERPT_BYTES) return describeBytes(line)
  let end = EXCERPT_BYTES
  // Not within a character.
  while (end > 0 && (line[end]! & 0xc0) === 0x80) end--
  return `${describeBytes(line.subarray(0, end))}…`
}

export function toStream(chunks: AsyncIterable<Uint8Array>): Readable {
  return Readable.from(chunks, { objectMode: false })
}

function parseObject(line: Buffer): Record<string, unknown> | string | undefined {
  const text = line.toString('utf8')
  if (text.trim() === '') return undefined
  try {
    const fields = JSON.parse(text) as unknown
    const isObject = typeof fields === 'object' && fields !== null && !Array.isArray(fields)
    return isObject ? (fields as Record<string, unknown>) : 'no JSON object, of which each line is one'
  } catch {
    return `not JSON; ${excerpt(line)}`
  }
}

function fromBase64(text: unknown): Buffer | undefined {
  if (typeof text !== 'string') return undefined
  const bytes = Buffer.from(text, 'base64')
  // Node skips what is no base64; only what comes back the same was.
  return bytes.toString('base64') === text ? bytes : undefined
}
