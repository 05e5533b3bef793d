/** One write as the store should apply it. Keys are strings of bytes: their order is that of the bytes. */
export type ModelOp =
  | { readonly kind: 'put'; readonly key: string; readonly value: string }
  | { readonly kind: 'del'; readonly key: string }
  | { readonly kind: 'clear'; readonly range: ModelRange }

export interface ModelRange {
  readonly gt?: string
  readonly gte?: string
  readonly lt?: string
  readonly lte?: string
  readonly prefix?: string
}

interface VersionOf {
  readonly position: number
  readonly value: string | undefined
}

/** Every batch that was handed to the store, in order: the state at any position. */
export class SimModel {
  readonly #batches: (readonly ModelOp[])[] = []
  readonly #versions = new Map<string, VersionOf[]>()
  #sortedKeys: string[] | undefined

  /** The position of the last batch handed over. */
  get issued(): number {
    return this.#batches.length
  }

  batch(position: number): readonly ModelOp[] {
    return this.#batches[position - 1] ?? []
  }

  /** Returns the position that the batch should get. */
  apply(ops: readonly ModelOp[]): number {
    this.#batches.push(ops)
    const position = this.#batches.length
    for (const op of ops) {
      if (op.kind !== 'clear') this.#set(op.key, position, op.kind === 'put' ? op.value : undefined)
      else for (const [key] of this.list(position, op.range)) this.#set(key, position, undefined)
    }
    return position
  }

  get(key: string, position: number): string | undefined {
    return this.#versionOf(key, position)?.value
  }

  /** The position of the value; undefined where there is none. */
  positionOf(key: string, position: number): number | undefined {
    const version = this.#versionOf(key, position)
    return version?.value === undefined ? undefined : version.position
  }

  /** What there is at a position, in order. */
  list(position: number, range: ModelRange = {}): [string, string][] {
    this.#sortedKeys ??= [...this.#versions.keys()].sort()
    const found: [string, string][] = []
    for (const key of this.#sortedKeys) {
      if (!isWithin(key, range)) continue
      const value = this.get(key, position)
      if (value !== undefined) found.push([key, value])
    }
    return found
  }

  /** Recovery ended here: what came later never happened. */
  truncate(position: number): void {
    this.#batches.length = position
    for (const [key, versions] of this.#versions) {
      const kept = versions.filter((version) => version.position <= position)
      if (kept.length < versions.length) this.#versions.set(key, kept)
    }
  }

  #versionOf(key: string, position: number): VersionOf | undefined {
    const versions = this.#versions.get(key) ?? []
    for (let i = versions.length - 1; i >= 0; i--) if (versions[i]!.position <= position) return versions[i]
    return undefined
  }

  #set(key: string, position: number, value: string | undefined): void {
    const versions = this.#versions.get(key)
    if (versions) {
      if (versions.at(-1)?.position === position) versions.pop()
      versions.push({ position, value })
      return
    }
    this.#versions.set(key, [{ position, value }])
    this.#sortedKeys = undefined
  }
}

export function isWithin(key: string, { gt, gte, lt, lte, prefix }: ModelRange): boolean {
  if (gt !== undefined && key <= gt) return false
  if (gte !== undefined && key < gte) return false
  if (lt !== undefined && key >= lt) return false
  if (lte !== undefined && key > lte) return false
  return prefix === undefined || key.startsWith(prefix)
}
