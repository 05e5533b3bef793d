import { codecOf } from '../access/codec.js'
import type { Env } from '../env/env.js'
import { nodeEnv } from '../env/node-env.js'
import { type Change, ChangeDecoder } from '../feed/change.js'
import { keyRangeOf } from '../key/key-range.js'
import type { BatchVisitor } from '../store/frame-walk.js'
import { LogTail } from '../store/log-tail.js'
import { formatBytes, jsonField, plural } from './format.js'
import { envWithKey } from './key-file.js'
import { type KeyWords, keyWordsOf } from './keys.js'
import { type Output, withOutput } from './output.js'
import { requireDirectory } from './store.js'

/** How often a log that nobody writes to is looked at. */
const POLL_MS = 25

export interface TailOptions {
  readonly from?: number
  readonly live?: boolean
  readonly prefix?: string
  readonly hexKey?: boolean
  readonly json?: boolean
}

type AnyChange = Change<Buffer, Buffer>

export async function tailLog(directory: string, options: TailOptions): Promise<void> {
  requireDirectory(directory)
  const { from, prefix } = options
  const env = await envWithKey()
  const keyEncoding = await keyEncodingOf(env, directory)
  const words = keyWordsOf(keyEncoding, options.hexKey === true)
  const { prefixEnd } = codecOf<unknown>(
    'key',
    keyEncoding === 'tuple' && !options.hexKey ? 'tuple' : 'buffer',
  )
  const range = prefix === undefined ? undefined : keyRangeOf({ prefix: words.parse(prefix) }, prefixEnd)
  const decoder = new ChangeDecoder(
    codecOf<Buffer>('key', 'buffer'),
    codecOf<Buffer>('value', 'buffer'),
    range,
  )
  let changes: AnyChange[] = []
  let isSilent = true
  const visit: BatchVisitor = (position, timestampMs, bytes, batchOffset) => {
    const change = decoder.decode(position, timestampMs, bytes, batchOffset)
    if (change) changes.push(change)
    return undefined
  }
  const after = from === undefined ? undefined : Math.max(0, from - 1)
  const tail = new LogTail(env, nodeEnv.fs.realPath(directory), after)
  try {
    await withOutput(async (output) => {
      for (;;) {
        const hasMore = await tail.step(visit)
        if (changes.length > 0) isSilent = false
        for (const change of changes) await print(output, change, words, options.json === true)
        changes = []
        if (hasMore) continue
        if (isSilent && from === undefined && !range) sayWhyNothing(tail.position)
        isSilent = false
        if (!options.live) break
        await output.flush()
        await nodeEnv.clock.sleep(POLL_MS)
      }
      tail.checkEnd()
    })
  } finally {
    tail.close()
  }
}

/** Most likely the log was trimmed, as it is once segments hold what it says. */
function sayWhyNothing(position: number): void {
  const why =
    position === 0
      ? 'the log files hold no change; varve stats shows what the store holds'
      : `the log goes back to position ${position}, where the store is; what is older is in its segments alone: ` +
        'varve scan shows that, and open(dir, { log: { maxBytes } }) keeps log'
  process.stderr.write(`${why}\n`)
}

/** By the manifest; undefined: it does not say, or the process that writes has just replaced it. */
async function keyEncodingOf(env: Env, directory: string): Promise<string | undefined> {
  const { readManifest } = await import('../repair/inspect.js')
  let keyEncoding: unknown
  try {
    for (const edit of readManifest(env, directory)) keyEncoding = edit.keyEncoding ?? keyEncoding
  } catch {
    return undefined
  }
  return keyEncoding as string | undefined
}

async function print(output: Output, change: AnyChange, words: KeyWords, isJson: boolean): Promise<void> {
  const { position, timestamp, ops } = change
  if (isJson) {
    const plain = ops.map((op) => opToJson(op, words))
    await output.write(JSON.stringify({ position, timestamp, ops: plain }), '\n')
    return
  }
  const time = new Date(timestamp).toISOString()
  await output.write(`position ${position}  ${time}  ${plural(ops.length, 'op')}\n`)
  for (const op of ops) await output.write(`  ${describeOp(op, words)}\n`)
}

type AnyOp = AnyChange['ops'][number]

function opToJson(op: AnyOp, words: KeyWords): Record<string, unknown> {
  const { type } = op
  if (type === 'clear') {
    return { type, ...jsonField('start', op.start), ...(op.end && jsonField('end', op.end)) }
  }
  if (type === 'del') return { type, ...words.fields(op.key) }
  const { key, value, expiresAt } = op
  return { type, ...words.fields(key), ...jsonField('value', value), expiresAt }
}

function describeOp(op: AnyOp, { describe }: KeyWords): string {
  if (op.type === 'clear') return `clear  [${describe(op.start)}, ${op.end ? describe(op.end) : '∞'})`
  const key = describe(op.key)
  return op.type === 'put' ? `put  ${key}  ${formatBytes(op.value.length)}` : `del  ${key}`
}
