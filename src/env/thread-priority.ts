import { readlinkSync } from 'node:fs'
import { setPriority } from 'node:os'

/** How far background work steps back: a tenth of a foreground thread's share where they compete for a core. */
const NICE = 10

/**
 * Lets other threads go first when there are more of them than cores, as RocksDB's low-priority pool does. Linux
 * only: elsewhere a priority belongs to the process. What is not permitted is left as it is.
 */
export function lowerThreadPriority(): void {
  if (process.platform !== 'linux') return
  try {
    const threadId = Number(readlinkSync('/proc/thread-self').split('/').pop())
    if (threadId !== process.pid) setPriority(threadId, NICE)
  } catch {
    // Without /proc there is no thread id to be had; the work is done all the same.
  }
}
