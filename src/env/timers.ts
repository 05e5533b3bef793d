/** The longest delay that the system's timers take; a longer one would fire at once. */
const MAX_DELAY_MS = 2 ** 31 - 1

/** Calls back once; returns what cancels it. */
export function startTimer(delayMs: number, callback: () => void): () => void {
  const timer = setTimeout(callback, clampDelay(delayMs))
  return () => clearTimeout(timer)
}

/** As `startTimer`, without keeping the process alive. */
export function startUnrefTimer(delayMs: number, callback: () => void): () => void {
  const timer = setTimeout(callback, clampDelay(delayMs))
  timer.unref()
  return () => clearTimeout(timer)
}

export function sleepFor(delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    if (delayMs > 0) setTimeout(resolve, clampDelay(delayMs))
    else setImmediate(resolve)
  })
}

function clampDelay(delayMs: number): number {
  return Math.min(Math.max(delayMs, 0), MAX_DELAY_MS)
}
