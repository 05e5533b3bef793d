import type { BlobReference } from './blob-format.js'
import type { BlobUse } from './segment-format.js'

/** Bytes of the values of a segment that stand apart. */
export function blobBytesOf({ blobs }: { readonly blobs: readonly BlobUse[] }): number {
  return blobs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
}

/** Sums up how much of which blob file the entries of a segment refer to. */
export class BlobUses {
  readonly #uses = new Map<number, BlobUse>()

  add({ blobId, sizeBytes, valueBytes }: BlobReference): void {
    const use = this.#uses.get(blobId)
    this.#uses.set(blobId, {
      blobId,
      count: (use?.count ?? 0) + 1,
      sizeBytes: (use?.sizeBytes ?? 0) + sizeBytes,
      valueBytes: (use?.valueBytes ?? 0) + valueBytes,
    })
  }

  /** By ascending id. */
  list(): BlobUse[] {
    return [...this.#uses.values()].sort((a, b) => a.blobId - b.blobId)
  }

  isSame(listed: readonly BlobUse[]): boolean {
    const uses = this.list()
    const isEqual = (a: BlobUse, b: BlobUse | undefined) =>
      a.blobId === b?.blobId &&
      a.count === b.count &&
      a.sizeBytes === b.sizeBytes &&
      a.valueBytes === b.valueBytes
    return uses.length === listed.length && uses.every((use, i) => isEqual(use, listed[i]))
  }
}
