import { VarveError } from '../errors.js'

/** @throws VarveError `VARVE_ABORTED`, with the signal's reason as its cause. */
export function throwIfAborted(signal: AbortSignal | undefined, what: string): void {
  if (signal?.aborted) throw abortedError(signal, what)
}

export function abortedError(signal: AbortSignal, what: string): VarveError {
  return new VarveError('VARVE_ABORTED', `the signal ended ${what}`, { cause: signal.reason })
}

/** Calls back once, at once where the signal is aborted already; returns what ends that. */
export function onAbort(signal: AbortSignal | undefined, callback: () => void): () => void {
  if (!signal) return () => {}
  if (signal.aborted) callback()
  else signal.addEventListener('abort', callback, { once: true })
  return () => signal.removeEventListener('abort', callback)
}

/**
 * What `work` comes to, or `VARVE_ABORTED` as soon as the signal says so: for work that goes on by itself, does no
 * harm, and that nobody has to wait for.
 */
export async function untilAborted<T>(
  work: Promise<T>,
  signal: AbortSignal | undefined,
  what: string,
): Promise<T> {
  if (!signal) return work
  let stop = () => {}
  const aborted = new Promise<never>((_, reject) => {
    stop = onAbort(signal, () => reject(abortedError(signal, what)))
  })
  try {
    return await Promise.race([work, aborted])
  } finally {
    // The one of the two that comes later is nobody's.
    work.catch(() => {})
    aborted.catch(() => {})
    stop()
  }
}
