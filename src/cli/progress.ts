import cliProgress from 'cli-progress'
import { formatCount } from './format.js'

const SHOW_AFTER_MS = 1000

export interface Progress {
  update(done: number, total?: number): void
  stop(): void
}

/** A bar on stderr for what takes more than a second; nothing where stderr is not a terminal. */
export function startProgress(label: string, unit: string, total?: number): Progress {
  if (!process.stderr.isTTY) return { update: () => undefined, stop: () => undefined }
  const startedAt = performance.now()
  let bar: cliProgress.SingleBar | undefined
  return {
    update(done, newTotal = total) {
      const elapsedMs = performance.now() - startedAt
      if (elapsedMs < SHOW_AFTER_MS) return
      const rate = formatCount(Math.round((done * 1000) / elapsedMs))
      if (bar === undefined) {
        bar = createBar(newTotal === undefined ? '{value} {unit}' : '[{bar}] {percentage}%')
        bar.start(newTotal ?? 0, done, { label, unit, rate })
      }
      if (newTotal !== undefined) bar.setTotal(newTotal)
      bar.update(done, { label, unit, rate })
    },
    stop: () => bar?.stop(),
  }
}

/** Shows how long `work` has been going on, for work that cannot say how far it is. */
export async function withElapsedTime<T>(label: string, work: Promise<T>): Promise<T> {
  if (!process.stderr.isTTY) return work
  const startedAt = performance.now()
  const timer = setInterval(() => {
    process.stderr.write(`\r${label} … ${Math.round((performance.now() - startedAt) / 1000)} s`)
  }, SHOW_AFTER_MS)
  try {
    return await work
  } finally {
    clearInterval(timer)
    if (performance.now() - startedAt >= SHOW_AFTER_MS) process.stderr.write('\r\x1b[K')
  }
}

function createBar(middle: string): cliProgress.SingleBar {
  return new cliProgress.SingleBar({
    format: `{label} ${middle} · {rate} {unit}/s`,
    stream: process.stderr,
    clearOnComplete: true,
    hideCursor: null,
    barsize: 30,
    barCompleteChar: '█',
    barIncompleteChar: '░',
  })
}
