import { setTimeout as sleep } from 'node:timers/promises'
import { nodeEnv } from '../env/node-env.js'
import { VarveError } from '../errors.js'
import { batchOpCount, batchSizeBytes } from '../key/batch-format.js'
import { listDirectory } from '../store/directory.js'
import type { BatchVisitor } from '../store/frame-walk.js'
import { LogTail } from '../store/log-tail.js'
import { type VersionStats, versionStats } from '../store/stats.js'
import { readManifest } from '../version/version-set.js'
import { formatBytes, formatCount } from './format.js'
import { printJson, printLine } from './output.js'
import { describeTree } from './stats-report.js'
import { requireDirectory } from './store.js'

/** A writer may replace what is being read: then it is read again. */
const ATTEMPTS_MAX = 5

export interface WatchOptions {
  readonly intervalMs: number
  /** Ends after so many; left out: when it is interrupted. */
  readonly count: number | undefined
  readonly json: boolean
}

/** What the files say, whoever has the store open. */
interface Look extends VersionStats {
  readonly timeMs: number
  readonly position: number
  readonly logBytes: number
  /** Since the look before; 0 in the first one. */
  readonly positionsPerSecond: number
  readonly opsPerSecond: number
  readonly bytesPerSecond: number
}

/** Looks at the store's files again and again: no lock, and nothing that is open slows the process that writes. */
export async function watchStats(directory: string, options: WatchOptions): Promise<void> {
  requireDirectory(directory)
  const ended = new AbortController()
  const end = () => ended.abort()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, end)
  const watch = new StoreWatch(nodeEnv.fs.realPath(directory))
  let shownLines = 0
  try {
    for (let i = 0; !ended.signal.aborted && i < (options.count ?? Number.POSITIVE_INFINITY); i++) {
      if (i > 0) await sleep(options.intervalMs, undefined, { signal: ended.signal }).catch(() => undefined)
      if (ended.signal.aborted) break
      const look = await watch.look()
      if (options.json) printJson(look)
      else shownLines = show(directory, look, shownLines)
    }
  } finally {
    watch.close()
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, end)
  }
}

/** On a terminal in place of what was shown before. Returns how many lines that are. */
function show(directory: string, look: Look, shownLines: number): number {
  const lines = describeLook(directory, look)
  if (process.stdout.isTTY && shownLines > 0) process.stdout.write(`\x1b[${shownLines}A\x1b[J`)
  printLine(lines.join('\n'))
  return lines.length
}

function describeLook(directory: string, look: Look): string[] {
  const rate = (count: number) => formatCount(Math.round(count))
  return [
    `${directory}  ${new Date(look.timeMs).toISOString().slice(11, 19)}`,
    `position  ${formatCount(look.position)}, ${rate(look.positionsPerSecond)}/s, flushed up to ${formatCount(look.flushedPosition)}`,
    `writes    ${rate(look.opsPerSecond)} operations/s, ${formatBytes(Math.round(look.bytesPerSecond))}/s`,
    `on disk   segments ${formatBytes(look.segmentBytes)}, blobs ${formatBytes(look.blobs.bytes)}, log ${formatBytes(look.logBytes)}`,
    ...describeTree(look),
    "from the files: caches, snapshots and stalls are known to the store's own process, in its stats()",
  ]
}

class StoreWatch {
  readonly #directory: string
  #tail: LogTail | undefined
  #timeMs: number | undefined
  #ops = 0
  #bytes = 0

  constructor(directory: string) {
    this.#directory = directory
  }

  async look(): Promise<Look> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#look()
      } catch (error) {
        this.close()
        const isTransient = error instanceof VarveError && error.code !== 'VARVE_INVALID_ARGUMENT'
        if (!isTransient || attempt === ATTEMPTS_MAX) throw error
      }
    }
  }

  close(): void {
    this.#tail?.close()
    this.#tail = undefined
  }

  async #look(): Promise<Look> {
    const manifest = readManifest(nodeEnv, this.#directory)
    const noStore = `there is no store at ${this.#directory}`
    if (!manifest) throw new VarveError('VARVE_INVALID_ARGUMENT', noStore)
    const stats = versionStats(manifest.version)
    const before = this.#tail?.position ?? stats.flushedPosition
    const isFirst = this.#tail === undefined
    this.#tail ??= new LogTail(nodeEnv, this.#directory, stats.flushedPosition)
    this.#ops = 0
    this.#bytes = 0
    while (await this.#tail.step(this.#count));
    const timeMs = Date.now()
    const seconds =
      isFirst || this.#timeMs === undefined ? Number.POSITIVE_INFINITY : (timeMs - this.#timeMs) / 1000
    this.#timeMs = timeMs
    const { position } = this.#tail
    return {
      timeMs,
      position,
      ...stats,
      logBytes: this.#logBytes(),
      positionsPerSecond: Math.max(0, position - before) / seconds,
      opsPerSecond: this.#ops / seconds,
      bytesPerSecond: this.#bytes / seconds,
    }
  }

  readonly #count: BatchVisitor = (_position, _timestampMs, bytes, batchOffset) => {
    this.#ops += batchOpCount(bytes, batchOffset)
    this.#bytes += batchSizeBytes(bytes, batchOffset)
    return undefined
  }

  #logBytes(): number {
    const { files } = listDirectory(nodeEnv, this.#directory)
    const logs = files.filter(({ kind }) => kind === 'log')
    return logs.reduce(
      (sum, { name }) => sum + (nodeEnv.fs.stat(`${this.#directory}/${name}`)?.sizeBytes ?? 0),
      0,
    )
  }
}
