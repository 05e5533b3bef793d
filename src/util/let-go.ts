/** Smaller ones are not worth a call. */
const LET_GO_BYTES_MIN = 64 * 1024

/**
 * Frees the memory of an array now. Nobody looks at it any more: it is empty afterwards.
 *
 * The collector starts for memory beside its heap, where arrays of any size are, once 64 MiB of it have been left in a
 * thread; every job leaves some. A buffer that is handed over loses its memory to one that is young, and so is found by
 * the next of the small collections.
 */
export function letGo(array: NodeJS.TypedArray): void {
  const { buffer } = array
  // Shared memory has other owners.
  if (buffer instanceof ArrayBuffer && buffer.byteLength >= LET_GO_BYTES_MIN)
    structuredClone(buffer, { transfer: [buffer] })
}
