/**
 * What the main thread asks a background thread to do. Plain data and shared memory only: it crosses threads.
 * Each kind is understood in `compaction/`; here it is opaque, since the environment only carries it.
 */
export interface Job {
  readonly kind: string
  readonly directory: string
}

export interface JobResult {
  readonly kind: string
}
