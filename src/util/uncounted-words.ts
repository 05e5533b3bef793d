/** Smaller ones are garbage like any other: shared memory costs more than its bytes, and goes late. */
const SHARED_MIN = 1024

/**
 * Zeros for what is handed on from owner to owner as long as a store is open. V8 counts memory of plain arrays beside its
 * heap, and collects everything, several milliseconds each time, for every few megabytes of it, only to find that all are
 * in use. It does not count shared memory.
 */
export function uncountedWords(length: number): Uint32Array {
  if (length < SHARED_MIN) return new Uint32Array(length)
  return new Uint32Array(new SharedArrayBuffer(length * Uint32Array.BYTES_PER_ELEMENT))
}
