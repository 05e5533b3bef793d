import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import cliProgress from 'cli-progress'
import { formatBytes, formatCount, formatTimeLeft } from './format.js'

const SHOW_AFTER_MS = 1000
const LOOK_MS = 250

export interface Progress {
  /** `note` stands at the end of the line. */
  update(done: number, total?: number, note?: string): void
  stop(): void
}

const SILENT: Progress = { update: () => undefined, stop: () => undefined }

/**
 * A bar on stderr with rate and time left for what takes more than a second; nothing where stderr is not a terminal.
 * @param unit `bytes` are shown as such; anything else is counted.
 */
export function startProgress(label: string, unit: string, total?: number): Progress {
  if (!process.stderr.isTTY) return SILENT
  const startedAt = performance.now()
  let first: number | undefined
  let bar: cliProgress.SingleBar | undefined
  return {
    update(done, newTotal = total, note) {
      // What was there before this began, such as the position of a checkpoint, says nothing about the rate.
      first ??= total === undefined ? 0 : Math.min(done, total)
      const elapsedMs = performance.now() - startedAt
      if (elapsedMs < SHOW_AFTER_MS) return
      const size = newTotal === undefined ? undefined : Math.max(newTotal, done)
      const text = describeProgress({ done: done - first, total: size && size - first, unit, elapsedMs })
      const payload = { label, text: note === undefined ? text : `${text} · ${note}` }
      if (bar === undefined) {
        bar = createBar(size !== undefined)
        bar.start(size ?? 0, done, payload)
      }
      if (size !== undefined) bar.setTotal(size)
      bar.update(done, payload)
    },
    stop: () => bar?.stop(),
  }
}

/** `3.1 MiB/s, 12 s left`; where the end is not known how much there was stands instead of the time. */
export function describeProgress(state: {
  readonly done: number
  readonly total: number | undefined
  readonly unit: string
  readonly elapsedMs: number
}): string {
  const { done, total, unit, elapsedMs } = state
  const perSecond = (done * 1000) / Math.max(elapsedMs, 1)
  const amount = (count: number) => (unit === 'bytes' ? formatBytes(count) : `${formatCount(count)} ${unit}`)
  const rate = `${amount(Math.round(perSecond))}/s`
  if (total === undefined) return `${amount(done)}, ${rate}`
  return perSecond === 0 ? rate : `${rate}, ${formatTimeLeft((1000 * (total - done)) / perSecond)} left`
}

/**
 * Progress of work that cannot say how far it is, by the files that it writes.
 * @param totalBytes about how much that will be.
 */
export async function withFileProgress<T>(
  label: string,
  writes: { readonly directory: string; readonly except?: ReadonlySet<string>; readonly totalBytes: number },
  work: Promise<T>,
): Promise<T> {
  if (!process.stderr.isTTY) return work
  const progress = startProgress(label, 'bytes', writes.totalBytes)
  progress.update(0)
  const timer = setInterval(() => progress.update(sizeOfFiles(writes.directory, writes.except)), LOOK_MS)
  try {
    return await work
  } finally {
    clearInterval(timer)
    progress.stop()
  }
}

function sizeOfFiles(directory: string, except: ReadonlySet<string> = new Set()): number {
  let bytes = 0
  try {
    for (const name of readdirSync(directory)) {
      if (!except.has(name)) bytes += statSync(join(directory, name), { throwIfNoEntry: false })?.size ?? 0
    }
  } catch {
    // It is not there yet, or not any more.
  }
  return bytes
}

function createBar(hasTotal: boolean): cliProgress.SingleBar {
  return new cliProgress.SingleBar({
    format: hasTotal ? '{label} [{bar}] {percentage}% · {text}' : '{label} {text}',
    stream: process.stderr,
    clearOnComplete: true,
    hideCursor: null,
    barsize: 30,
    barCompleteChar: '█',
    barIncompleteChar: '░',
  })
}
