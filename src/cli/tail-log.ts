import { codecOf } from '../access/codec.js'
import { nodeEnv } from '../env/node-env.js'
import { type Change, ChangeDecoder } from '../feed/change.js'
import { keyRangeOf } from '../key/key-range.js'
import type { BatchVisitor } from '../store/frame-walk.js'
import { LogTail } from '../store/log-tail.js'
import { describeBytes, formatBytes, jsonField, plural } from './format.js'
import { envWithKey } from './key-file.js'
import { type Output, withOutput } from './output.js'
import { parseKey, requireDirectory } from './store.js'

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
  const range = prefix === undefined ? undefined : keyRangeOf({ prefix: parseKey(prefix, options.hexKey) })
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
  const tail = new LogTail(await envWithKey(), nodeEnv.fs.realPath(directory), after)
  try {
    await withOutput(async (output) => {
      for (;;) {
        const hasMore = await tail.step(visit)
        if (changes.length > 0) isSilent = false
        for (const change of changes) await print(output, change, options.json === true)
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

async function print(output: Output, change: AnyChange, isJson: boolean): Promise<void> {
  const { position, timestamp, ops } = change
  if (isJson) {
    await output.write(JSON.stringify({ position, timestamp, ops: ops.map(opToJson) }), '\n')
    return
  }
  const time = new Date(timestamp).toISOString()
  await output.write(`position ${position}  ${time}  ${plural(ops.length, 'op')}\n`)
  for (const op of ops) await output.write(`  ${describeOp(op)}\n`)
}

type AnyOp = AnyChange['ops'][number]

function opToJson(op: AnyOp): Record<string, unknown> {
  const { type } = op
  if (type === 'clear') {
    return { type, ...jsonField('start', op.start), ...(op.end && jsonField('end', op.end)) }
  }
  if (type === 'del') return { type, ...jsonField('key', op.key) }
  const { key, value, expiresAt } = op
  return { type, ...jsonField('key', key), ...jsonField('value', value), expiresAt }
}

function describeOp(op: AnyOp): string {
  if (op.type === 'clear')
    return `clear  [${describeBytes(op.start)}, ${op.end ? describeBytes(op.end) : '∞'})`
  const key = describeBytes(op.key)
  return op.type === 'put' ? `put  ${key}  ${formatBytes(op.value.length)}` : `del  ${key}`
}
