/** Random suites set values apart from keys in every second store, chosen by seed, where they are long enough. */
const BLOB_MIN_BYTES = 40

export function blobsOf(seed: number): { readonly blobMinBytes?: number } {
  return (Math.imul(seed, 0x85ebca6b) >>> 0) % 2 === 0 ? { blobMinBytes: BLOB_MIN_BYTES } : {}
}
