import { mkdtempSync, rmSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { encryptionOptions } from './key-file.js'
import { readLines } from './line-reader.js'
import { BadInput, excerpt, type LoadOp, type LoadSource } from './load-source.js'
import { closeAfter, loadEngine, type Store } from './store.js'

const SEQUENCE_BYTES = 8
const PUT = 1
const DEL = 0
/** Operations that go to a store at once. */
const OPS_MAX = 1000
const BYTES_MAX = 16 * 1024 * 1024

/** One version of one key, as LevelDB and RocksDB number them. */
interface Versioned {
  readonly sequence: bigint
  readonly op: LoadOp
}

/**
 * What lists every version of a key, newest first, file after file in any order: `leveldbutil dump` of tables and
 * logs, RocksDB's `ldb idump --hex` and `sst_dump --output_hex`. Only the newest of a key counts, and which one that
 * is shows when all were seen: they are sorted by a store of their own beside the target, which is removed.
 */
export function versionSource(target: string): LoadSource {
  return async function* (chunks) {
    const scratch = mkdtempSync(join(dirname(resolve(target)), '.varve-load-'))
    try {
      const { open } = await loadEngine()
      const store = await open<Buffer, Buffer>(join(scratch, 'store'), {
        keyEncoding: 'buffer',
        valueEncoding: 'buffer',
        durability: 'memory',
        ...encryptionOptions(),
      })
      try {
        for await (const group of grouped(readVersions(chunks))) await store.batch(group.map(toScratch))
        yield* inOrder(store)
      } finally {
        await closeAfter(store, async () => {})
      }
    } finally {
      rmSync(scratch, { recursive: true, force: true })
    }
  }
}

async function* inOrder(store: Store): AsyncGenerator<LoadOp[]> {
  let ops: LoadOp[] = []
  let bytes = 0
  for await (const [numbered, typed] of store.entries()) {
    const key = numbered.subarray(SEQUENCE_BYTES)
    const value = typed.subarray(1)
    ops.push(typed[0] === PUT ? { type: 'put', key, value } : { type: 'del', key })
    bytes += numbered.length + typed.length
    if (ops.length < OPS_MAX && bytes < BYTES_MAX) continue
    yield ops
    ops = []
    bytes = 0
  }
  yield ops
}

function toScratch({ sequence, op }: Versioned): LoadOp {
  const number = Buffer.alloc(SEQUENCE_BYTES)
  number.writeBigUInt64BE(sequence)
  const type = Buffer.of(op.type === 'put' ? PUT : DEL)
  const value = op.type === 'put' ? Buffer.concat([type, op.value]) : type
  return { type: 'put', key: Buffer.concat([number, op.key]), value }
}

async function* grouped(versions: AsyncIterable<Versioned>): AsyncGenerator<Versioned[]> {
  let group: Versioned[] = []
  let bytes = 0
  for await (const version of versions) {
    group.push(version)
    bytes += version.op.type === 'put' ? version.op.value.length : 0
    if (group.length < OPS_MAX && bytes < BYTES_MAX) continue
    yield group
    group = []
    bytes = 0
  }
  if (group.length > 0) yield group
}

async function* readVersions(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Versioned> {
  const parse = versionParser()
  let lineNumber = 0
  for await (const lines of readLines(chunks)) {
    for (const line of lines) {
      lineNumber++
      const parsed = parse(line)
      if (typeof parsed === 'string') throw BadInput.at(lineNumber, parsed)
      if (parsed !== undefined) yield parsed
    }
  }
}

// The tools escape neither quotes nor backslashes: a line that can be read in two ways is refused.
const TABLE_LINE = /^'(.*?)' @ (\d+) : (val|del|\d+) => '(.*)'$/s
const TABLE_MIDDLE = /' @ \d+ : (?:val|del|\d+) => '/g
const LOG_RECORD = /^--- offset \d+; sequence (\d+)$/
const LOG_PUT = /^ {2}put '(.*?)' '(.*)'$/s
const LOG_DEL = /^ {2}del '(.*)'$/s
const HEX_LINE = /^'([0-9a-f]*)' seq:(\d+), type:(\d+) => ?([0-9a-f]*)$/i
const PASSED_OVER = /^(?:Internal keys in range: \d+|from \[.*\] to \[.*\]|Process .*|Sst file format: .*|)$/

/** A string says what is wrong with the line; undefined: nothing of it is data. */
function versionParser(): (line: Buffer) => Versioned | string | undefined {
  /** Of the next operation of a log's record. */
  let sequence = 0n
  return (line) => {
    const text = line.toString('latin1').replace(/\r$/, '')
    const record = LOG_RECORD.exec(text)
    if (record) {
      sequence = BigInt(record[1]!)
      return undefined
    }
    const put = LOG_PUT.exec(text)
    if (put) {
      if (text.split("' '").length > 2) return describeAmbiguity(line)
      return { sequence: sequence++, op: putOp(unescaped(put[1]!), unescaped(put[2]!)) }
    }
    const del = LOG_DEL.exec(text)
    if (del) return { sequence: sequence++, op: { type: 'del', key: unescaped(del[1]!) } }
    const hex = HEX_LINE.exec(text)
    if (hex) return typed(hex[2]!, hex[3]!, Buffer.from(hex[1]!, 'hex'), () => Buffer.from(hex[4]!, 'hex'))
    const table = TABLE_LINE.exec(text)
    if (table) {
      if ((text.match(TABLE_MIDDLE)?.length ?? 0) > 1) return describeAmbiguity(line)
      return typed(table[2]!, table[3]!, unescaped(table[1]!), () => unescaped(table[4]!))
    }
    return PASSED_OVER.test(text)
      ? undefined
      : `neither of leveldbutil dump nor of ldb idump --hex; ${excerpt(line)}`
  }
}

/** `type` as the tools print it; of RocksDB's only those that a key-value store can take over. */
function typed(sequence: string, type: string, key: Buffer, value: () => Buffer): Versioned | string {
  if (type === 'val' || type === '1') return { sequence: BigInt(sequence), op: putOp(key, value()) }
  if (type === 'del' || type === '0' || type === '7')
    return { sequence: BigInt(sequence), op: { type: 'del', key } }
  return `an entry of type ${type}, such as a merge or a range: use ldb dump --hex, which shows what comes of it`
}

function putOp(key: Buffer, value: Buffer): LoadOp {
  return { type: 'put', key, value }
}

/** Only bytes that are no printable ASCII were written as `\xhh`: any other `\x41` stood in the text. */
function unescaped(text: string): Buffer {
  const plain = text.replace(/\\x([0-9a-f]{2})/g, (written, digits: string) => {
    const code = Number.parseInt(digits, 16)
    return code >= 0x20 && code <= 0x7e ? written : String.fromCharCode(code)
  })
  return Buffer.from(plain, 'latin1')
}

function describeAmbiguity(line: Buffer): string {
  return `can be read in two ways, as leveldbutil escapes no quotes: copy the store with classic-level; ${excerpt(line)}`
}
